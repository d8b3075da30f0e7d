"""An open episode on disk: a folder whose files only grow, readable at any moment and after `kill -9`.

    journal/000012-1f0c.../    plan index and a random id
        episode.json           EpisodeInfo, layout, when it began
        steps.arrow            one batch per step
        camera-0.h264          one per camera, in the layout's order
        cameras/ calls/        what is recorded beside the steps (`beside`)

A step's frames are written before its row; a step therefore counts as recorded exactly when its row is whole.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlasteer.recording.atomic import replace_json
from vlasteer.recording.layout import Layout
from vlasteer.recording.tables import StepLog, read_log
from vlasteer.recording.video import FrameLog, to_frame
from vlasteer.types import EpisodeInfo, StepRecord

_HEADER = "episode.json"
_STEPS = "steps.arrow"


class Journal:
    """Writes one episode.

    Args:
        parent: the dataset's journal folder.
        episode: what the episode is.
        layout: the dataset's.
    """

    def __init__(self, parent: Path, episode: EpisodeInfo, layout: Layout) -> None:
        identity = uuid.uuid4().hex
        self.folder = parent / f"{episode.index:06d}-{identity[:12]}"
        self.folder.mkdir(parents=True)
        header = {
            "id": identity,
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "episode": _facts(episode),
            "layout": layout.as_json(),
        }
        replace_json(self.folder / _HEADER, header)
        self._layout = layout
        self._steps = StepLog(self.folder / _STEPS, layout.stored_columns)
        rate, lossless = layout.action_spec.rate_hz, layout.lossless
        self._videos = {
            camera: FrameLog(self.folder / video_name(i), height=h, width=w, rate_hz=rate, lossless=lossless)
            for i, (camera, (h, w)) in enumerate(layout.cameras.items())
        }
        self._frames: dict[str, Any] = {}
        self.length = 0

    def folder_for(self, place: str) -> Path:
        """A new folder for what is recorded beside the steps."""
        folder = self.folder / place
        folder.mkdir(parents=True)
        return folder

    def prepare(self, record: StepRecord) -> Any:
        """Check a step and copy what is needed of it; what comes back goes to `write`, maybe in another thread.

        Raises:
            ObservationError: its images do not fit the dataset.
            OutputError: something else does not.
        """
        images = record.observation.images
        self._layout.check_images(images, first=self.length == 0)
        batch = self._steps.batch(self._layout.row(record, self.length))
        self.length += 1
        return batch, {camera: to_frame(image) for camera, image in images.items()}

    def write(self, prepared: Any) -> None:
        """Put a prepared step into the files; a camera without a new image repeats its last frame."""
        batch, fresh = prepared
        self._frames |= fresh
        for camera, video in self._videos.items():
            video.append(self._frames[camera])
        self._steps.append(batch)

    def close(self) -> None:
        """Close the files; the folder stays until the episode is sealed."""
        for video in self._videos.values():
            video.close()
        self._steps.close()


@dataclass(frozen=True)
class JournalContents:
    """What a journal holds.

    Attributes:
        folder: where it lies.
        identity: random id of the recording.
        facts: of the episode: plan_index, task, start, seed, arm, world, instruction, extra (JSON), recorded_at.
        layout: of the dataset that it belongs to.
        steps: Arrow table of its whole steps.
    """

    folder: Path
    identity: str
    facts: Mapping[str, Any]
    layout: Layout
    steps: Any

    def video(self, camera: str) -> Path:
        """The camera's frame log."""
        return self.folder / video_name(list(self.layout.cameras).index(camera))


def read_journal(folder: Path) -> JournalContents | None:
    """Contents of a journal in whatever state; None when the writer died before the first step was whole."""
    try:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
    except FileNotFoundError:  # it is put in place atomically
        return None
    steps = read_log(folder / _STEPS)
    if steps is None:
        return None
    facts = header["episode"] | {"recorded_at": header["recorded_at"]}
    return JournalContents(folder, header["id"], facts, Layout.from_json(header["layout"]), steps)


def remove_journal(folder: Path) -> None:
    """Remove a journal whose episode is sealed, or that holds none."""
    shutil.rmtree(folder)


def video_name(camera: int) -> str:
    """File name of the camera at that position of the layout: camera names need not be file names."""
    return f"camera-{camera}.h264"


def _facts(episode: EpisodeInfo) -> dict[str, Any]:
    return {
        "plan_index": episode.index,
        "task": episode.key.task,
        "start": episode.key.start,
        "seed": episode.key.seed,
        "arm": episode.arm,
        "world": episode.world,
        "instruction": episode.instruction,
        "extra": json.dumps(dict(episode.extra), ensure_ascii=False),
    }
