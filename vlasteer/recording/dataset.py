"""The dataset folder: a LeRobotDataset v3.0 that is valid whenever nobody is in the middle of sealing an episode.

    data/chunk-000/file-007.parquet                    steps of episode 7: one file per episode
    videos/observation.images.<camera>/chunk-000/file-007.mp4
    meta/info.json  meta/tasks.parquet  meta/stats.json
    meta/episodes/chunk-000/file-000.parquet           one row per episode, `EPISODES_PER_FILE` to a file
    journal/                                           episodes that are open, or were when their process died
    cameras/  calls/                                   beside the dataset, not known to LeRobot (`beside`)

One file per episode keeps memory and the time to append constant, and lets several episodes be open at once; the format
allows it (each row of meta/episodes names its files). An episode belongs to the dataset from the moment that its row
is in meta/episodes. Everything written before is overwritten by the next attempt, info.json and stats.json are
computed anew from the rows when the folder is opened, and a journal goes last: a crash at any point costs nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlasteer.errors import OutputError
from vlasteer.recording.atomic import replace_json
from vlasteer.recording.beside import seal_beside
from vlasteer.recording.journal import JournalContents, read_journal, remove_journal
from vlasteer.recording.layout import IMAGES, Layout
from vlasteer.recording.recorder import Companion, Recorder
from vlasteer.recording.stats import KEYS, Stats, image_stats, merge_stats, vector_stats
from vlasteer.recording.tables import (
    column_values,
    episode_types,
    load_pyarrow,
    read_table,
    read_tasks,
    seal_steps,
    write_rows,
    write_table,
    write_tasks,
)
from vlasteer.recording.video import count_frames, key_frames, seal_video, video_info
from vlasteer.types import EpisodeInfo, Outcome, StepRecord

CODEBASE_VERSION = "v3.0"
CHUNKS_SIZE = 1000
EPISODES_PER_FILE = 100
SAMPLED_FRAMES = 16
"""Pictures of an episode that its statistics are taken from, at most; LeRobot samples too."""
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{FILE}.parquet"
FORMAT = 1
"""Version of what vlasteer adds to the format (info.json, "vlasteer")."""


class DatasetWriter:
    """Opens a dataset folder for appending; seals what a process that died left in the journal.

    One process at a time: `vlasteer.runs.RunFolder` sees to that. Recorders of one writer may be used from different
    threads.

    Args:
        root: the folder; made when it does not exist.
        state_names: one short name per state dimension, for a new dataset.
        lossless: keep every pixel of the videos, for a new dataset.
        extras: names of `StepRecord.extra` that the first step may lack, for a new dataset.

    Attributes:
        recovered: how many episodes were sealed from the journal.

    Raises:
        OutputError: the folder cannot be written, or holds a dataset that was not written by vlasteer.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        state_names: Sequence[str] = (),
        lossless: bool = False,
        extras: Sequence[str] = (),
    ) -> None:
        self.root = Path(root)
        self.journals = self.root / "journal"
        self.layout: Layout | None = None
        self.recovered = 0
        self._state_names, self._lossless, self._extras = tuple(state_names), lossless, tuple(extras)
        self._lock = threading.RLock()
        self._tasks: list[str] = []
        self._tail: list[dict[str, Any]] = []  # rows of the last file of meta/episodes
        self._stats: dict[str, Stats] = {}
        self._world: str | None = None
        self._episodes = self._frames = 0
        load_pyarrow()
        try:
            recorded = self._load()
            self.journals.mkdir(parents=True, exist_ok=True)
            self._recover(recorded)
        except OSError as error:
            raise OutputError(f"{self.root} cannot be used: {error}", expected="a writable folder") from error

    def recorder(self, beside: Sequence[Companion] = ()) -> Recorder:
        """A sink that records episodes here, one at a time; take one for every episode that is open at once.

        `beside` is recorded with it: `CameraRecorder`, `CallTap.recorder()`.
        """
        return Recorder(self, beside)

    def layout_for(self, episode: EpisodeInfo, first: StepRecord) -> Layout:
        """The dataset's layout, after making sure that the episode fits; the first episode defines it.

        Raises:
            OutputError: the episode has other features, cameras, names or conventions.
        """
        needed = Layout.of(episode, first, self._state_names, self._lossless, self._extras)
        with self._lock:
            if self.layout is None:
                self._define(needed, episode.world)
            return self._fitting(needed)

    def seal(self, journal: Path, outcome: Outcome) -> None:
        """Move a closed journal into the dataset. `RUNNING` marks it as interrupted.

        Raises:
            OutputError: it belongs to another dataset.
            OSError: the disk refused; the journal is then still there.
        """
        with self._lock:
            contents = read_journal(journal)
            if contents is not None and (episode := self._append(contents, outcome)) is not None:
                seal_beside(journal, self.root, episode)
            remove_journal(journal)

    def _fitting(self, needed: Layout) -> Layout:
        assert self.layout is not None
        if differences := self.layout.differences(needed):
            raise OutputError(
                f"{self.root} holds a recording of another kind ({'; '.join(differences)})",
                expected="the same features, cameras and conventions in all episodes of a recording",
                fix="Choose another output folder",
            )
        return self.layout

    def _define(self, layout: Layout, world: str) -> None:
        self.layout, self._world = layout, world
        self._write_info()

    def _append(self, contents: JournalContents, outcome: Outcome) -> int | None:
        """Returns the episode's index; None: it holds no whole step and is not kept."""
        if self.layout is None:
            self._define(contents.layout, contents.facts["world"])
        layout = self._fitting(contents.layout)
        rate = layout.action_spec.rate_hz
        chunk, file = divmod(self._episodes, CHUNKS_SIZE)
        place = {"chunk_index": chunk, "file_index": file}
        videos = {camera: self._video_path(camera, place) for camera in layout.cameras}
        # A process that was killed leaves a frame for every row; a machine that lost power may not.
        length = min([contents.steps.num_rows, *(count_frames(contents.video(camera)) for camera in videos)])
        if length == 0:
            return None
        interrupted = outcome is Outcome.RUNNING or length < contents.steps.num_rows
        self._number_tasks(contents.steps["task"].unique().to_pylist())
        steps = seal_steps(
            contents.steps.slice(0, length),
            layout.stored_columns,
            episode=self._episodes,
            first_index=self._frames,
            task_indices={task: i for i, task in enumerate(self._tasks)},
        )
        for camera, path in videos.items():
            seal_video(contents.video(camera), path, frames=length, rate_hz=rate)
        write_table(self.root / DATA_PATH.format(**place), steps)

        stats = _episode_stats(layout, steps, videos)
        row: dict[str, Any] = {
            "episode_index": self._episodes,
            "tasks": contents.steps["task"].slice(0, length).unique().to_pylist(),
            "length": length,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + length,
            **{f"data/{key}": value for key, value in place.items()},
            **contents.facts,
            "outcome": str(Outcome.FAILED if interrupted else outcome),
            "interrupted": interrupted,
            "recording_id": contents.identity,
        }
        for camera in videos:
            span = {"from_timestamp": 0.0, "to_timestamp": length / rate}
            row |= {f"videos/{IMAGES}{camera}/{key}": value for key, value in (place | span).items()}
        for name, kinds in stats.items():
            row |= {f"stats/{name}/{key}": kinds[key].tolist() for key in KEYS}
        self._commit(row)
        self._count(row, stats)
        self._write_totals()
        return row["episode_index"]

    def _number_tasks(self, instructions: Sequence[str]) -> None:
        new = [task for task in instructions if task not in self._tasks]
        if new:
            write_tasks(self.root / "meta/tasks.parquet", [*self._tasks, *new])
            self._tasks += new

    def _commit(self, row: dict[str, Any]) -> None:
        """Write the row; the episode is part of the dataset from here on."""
        assert self.layout is not None
        chunk, file = divmod(self._episodes // EPISODES_PER_FILE, CHUNKS_SIZE)
        place = {"chunk_index": chunk, "file_index": file}
        tail = [] if self._episodes % EPISODES_PER_FILE == 0 else self._tail
        rows = [*tail, row | {f"meta/episodes/{key}": value for key, value in place.items()}]
        write_rows(self.root / EPISODES_PATH.format(**place), rows, episode_types(self.layout))
        self._tail = rows

    def _count(self, row: dict[str, Any], stats: dict[str, Stats]) -> None:
        self._episodes += 1
        self._frames += row["length"]
        for name, kinds in stats.items():
            self._stats[name] = merge_stats(self._stats.get(name), kinds)

    def _load(self) -> dict[str, int]:
        """Read what is there; returns the episodes by the ids of their recordings."""
        path = self.root / "meta/info.json"
        if not path.exists():
            return {}
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
            self.layout = Layout.from_json(info["vlasteer"]["layout"])
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{self.root} holds a dataset that vlasteer did not write", fix="Choose another output folder"
            ) from error
        self._world = info["robot_type"]
        self._tasks = read_tasks(self.root / "meta/tasks.parquet")
        recorded: dict[str, int] = {}
        for file in sorted((self.root / "meta/episodes").glob("*/*.parquet")):
            self._tail = read_table([file]).to_pylist()
            for row in self._tail:
                recorded[row["recording_id"]] = row["episode_index"]
                self._count(row, _stats_of(self.layout, row))
        if self._episodes:
            self._write_totals()
        return recorded

    def _recover(self, recorded: Mapping[str, int]) -> None:
        for folder in sorted(path for path in self.journals.iterdir() if path.is_dir()):
            contents = read_journal(folder)
            if contents is None:
                remove_journal(folder)
            elif contents.identity in recorded:
                seal_beside(folder, self.root, recorded[contents.identity])
                remove_journal(folder)
            else:
                self.seal(folder, Outcome(contents.steps["next.outcome"][-1].as_py()))
                self.recovered += 1

    def _video_path(self, camera: str, place: dict[str, int]) -> Path:
        return self.root / VIDEO_PATH.format(video_key=IMAGES + camera, **place)

    def _write_totals(self) -> None:
        stats = {name: {key: kinds[key].tolist() for key in KEYS} for name, kinds in self._stats.items()}
        replace_json(self.root / "meta/stats.json", stats)
        self._write_info()

    def _write_info(self) -> None:
        assert self.layout is not None
        layout, rate = self.layout, self.layout.frames_per_second
        features: dict[str, Any] = {}
        for column in layout.columns:
            names = None if column.names is None else list(column.names)
            features[column.name] = {"dtype": column.dtype, "shape": list(column.shape), "names": names}
            if column.dtype == "video":
                height, width, _ = column.shape
                features[column.name]["info"] = video_info(height, width, rate, lossless=layout.lossless)
        info = {
            "codebase_version": CODEBASE_VERSION,
            "robot_type": self._world,
            "total_episodes": self._episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNKS_SIZE,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": rate,
            "splits": {"train": f"0:{self._episodes}"} if self._episodes else {},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if layout.cameras else None,
            "features": features,
            "vlasteer": {"format": FORMAT, "layout": layout.as_json()},
        }
        replace_json(self.root / "meta/info.json", info)


def _episode_stats(layout: Layout, steps: Any, videos: dict[str, Path]) -> dict[str, Stats]:
    """Of pictures, from some of the key frames: cheap, and the same whether an episode was closed or recovered."""
    stats: dict[str, Stats] = {}
    for column in layout.columns:
        if column.dtype == "video":
            stats[column.name] = image_stats(key_frames(videos[column.name.removeprefix(IMAGES)], SAMPLED_FRAMES))
        elif column.statistics and (found := vector_stats(column_values(steps, column))) is not None:
            stats[column.name] = found
    return stats


def _stats_of(layout: Layout, row: dict[str, Any]) -> dict[str, Stats]:
    named = [c.name for c in layout.columns if c.statistics and row[f"stats/{c.name}/count"] is not None]
    return {name: {key: np.array(row[f"stats/{name}/{key}"]) for key in KEYS} for name in named}
