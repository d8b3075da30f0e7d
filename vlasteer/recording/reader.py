"""Reading a recording back: its episodes, the steps of an episode, and what the cameras saw."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError, UnknownNameError
from vlasteer.recording.layout import IMAGES, Layout
from vlasteer.recording.tables import read_table
from vlasteer.recording.video import read_frames
from vlasteer.types import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

FINISHED = (Outcome.SUCCESS, Outcome.HORIZON)
"""Outcomes after which an episode of a plan need not be run again."""


def read_layout(root: Path | str) -> Layout:
    """Layout of a recording.

    Raises:
        InputError: there is none at `root`.
    """
    return Layout.from_json(_info(Path(root))["vlasteer"]["layout"])


def read_episodes(root: Path | str) -> list[dict[str, Any]]:
    """One dictionary per sealed episode, in the order of `episode_index`, without the statistics.

    `extra` is parsed; episodes that are open or were lost to a crash are not among them (opening the recording with
    `DatasetWriter` recovers the latter).
    """
    files = sorted((Path(root) / "meta/episodes").glob("*/*.parquet"))
    rows: list[dict[str, Any]] = []
    for file in files:
        table = read_table([file])
        rows += table.select([name for name in table.column_names if not name.startswith("stats/")]).to_pylist()
    return [row | {"extra": json.loads(row["extra"])} for row in rows]


def finished_episodes(
    episodes: Sequence[Mapping[str, Any]], outcomes: Collection[Outcome] = FINISHED
) -> dict[int, dict[str, Any]]:
    """Episodes of `read_episodes` that need not be run again, by plan index.

    An episode that was interrupted and run again is in the recording twice; the last one counts.
    """
    latest = {row["plan_index"]: dict(row) for row in episodes}
    return {index: row for index, row in latest.items() if Outcome(row["outcome"]) in outcomes}


def read_steps(root: Path | str, episodes: Sequence[int] | None = None) -> pa.Table:
    """Steps of some episodes (by `episode_index`; None: all) as an Arrow table with the columns of `Layout`.

    Raises:
        InputError: there is no such episode, or none at all.
    """
    template = _info(Path(root))["data_path"]
    rows = {row["episode_index"]: row for row in read_episodes(root)}
    wanted = list(rows) if episodes is None else list(episodes)
    for index in wanted:
        if index not in rows:
            raise InputError(f"{root} has no episode {index}", expected=f"0 to {len(rows) - 1}")
    if not wanted:
        raise InputError(f"{root} holds no episode yet")
    return read_table([Path(root) / template.format(**_place(rows[i], "data")) for i in wanted])


def episode_frames(
    root: Path | str, episode: int, camera: str, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames of one camera, one per step, uint8 [height, width, 3] RGB.

    Where the column looked.<camera> is false the frame repeats the last one that was seen.

    Raises:
        InputError: no such episode.
        UnknownNameError: no such camera.
    """
    info = _info(Path(root))
    cameras = info["vlasteer"]["layout"]["cameras"]
    if camera not in cameras:
        raise UnknownNameError.among("camera", camera, cameras)
    row = next((row for row in read_episodes(root) if row["episode_index"] == episode), None)
    if row is None:
        raise InputError(f"{root} has no episode {episode}", expected=f"0 to {info['total_episodes'] - 1}")
    key = IMAGES + camera
    path = Path(root) / info["video_path"].format(video_key=key, **_place(row, f"videos/{key}"))
    return read_frames(path, start, stop)


def _place(row: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {key: row[f"{prefix}/{key}"] for key in ("chunk_index", "file_index")}


def _info(root: Path) -> dict[str, Any]:
    try:
        info = json.loads((root / "meta/info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{root} holds no recording", expected="a folder with meta/info.json") from error
    if "vlasteer" not in info:
        raise InputError(f"{root} holds a dataset that vlasteer did not write")
    return info
