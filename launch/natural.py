"""Observations from files, for measuring activations: a run folder, or pictures with an instruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlasteer.errors import ObservationError
from vlasteer.types import Observation

_PICTURES = (".png", ".jpg", ".jpeg", ".npy")


@dataclass(frozen=True)
class ObservationSource:
    """Where observations are read from.

    Attributes:
        path: a run folder, a folder of pictures, or one picture.
        instruction: the task in words; for pictures only, a run has its own.
    """

    path: Path
    instruction: str | None = None

    @property
    def world(self) -> str | None:
        """Name of the world that a run was recorded in; None for pictures."""
        from vlasteer.recording import read_episodes

        episodes = read_episodes(self.path) if self._is_run else []
        return str(episodes[0]["world"]) if episodes else None

    @property
    def _is_run(self) -> bool:
        return (self.path / "meta" / "info.json").is_file()

    def read(self, cameras: tuple[str, ...], limit: int, *, state_size: int = 0) -> list[Observation]:
        """At most `limit` observations, spread evenly over what there is.

        Args:
            cameras: that the policy reads; pictures are its first one's.
            limit: how many.
            state_size: numbers of the state that the policy reads; 0 if none.

        Raises:
            ObservationError: nothing there, an unreadable picture, no instruction for pictures, or pictures for a
                policy that reads a state as well.
            InputError: a damaged run folder.
        """
        if not self.path.exists():
            raise ObservationError(
                f"there is no image at {self.path}", expected="a run folder, a folder of pictures, or one picture"
            )
        if self._is_run:
            return list(self._from_run(cameras, limit))
        if state_size:
            raise ObservationError(
                f"{self.path} is no run folder, and the policy reads a state beside pictures",
                expected=f"a recorded run, whose observations have a state of {state_size} numbers",
                fix="Record one: vlasteer rollout --policy ... --env ... --out run",
            )
        return self._from_pictures(cameras[0], limit)

    def _from_pictures(self, camera: str, limit: int) -> list[Observation]:
        from vlasteer.launch.act import read_image

        if self.instruction is None:
            raise ObservationError(f"{self.path} is no run folder, and pictures need words", fix="Add --instruction")
        files = [self.path]
        if self.path.is_dir():
            files = sorted(file for file in self.path.iterdir() if file.suffix.lower() in _PICTURES)
        if not files:
            raise ObservationError(
                f"{self.path} holds no observations", expected=f"a run folder, or pictures ({', '.join(_PICTURES)})"
            )
        return [Observation({camera: read_image(files[i])}, self.instruction) for i in _spread(len(files), limit)]

    def _from_run(self, cameras: tuple[str, ...], limit: int) -> Iterator[Observation]:
        from vlasteer.recording import episode_frames, read_episodes, read_steps

        chosen = self._looked_at(cameras)
        chosen = [chosen[i] for i in _spread(len(chosen), limit)]
        for episode in read_episodes(self.path):
            index = episode["episode_index"]
            steps = [step for which, step in chosen if which == index]
            if not steps:
                continue
            table: dict[str, list[Any]] = read_steps(self.path, [index]).to_pydict()
            frames = {camera: list(episode_frames(self.path, index, camera)) for camera in cameras}
            for step in steps:
                images = {camera: frames[camera][step] for camera in cameras}
                state = table.get("world.state")
                yield Observation(
                    images,
                    str(self.instruction or episode["instruction"]),
                    None if state is None else np.array(state[step], np.float64),
                    float(table["world.time_s"][step]),
                )

    def _looked_at(self, cameras: tuple[str, ...]) -> list[tuple[int, int]]:
        """Episode and step of everything that the policy saw; where unsteered steps exist, only those."""
        from vlasteer.recording import read_steps

        table = read_steps(self.path)
        absent = [camera for camera in cameras if f"looked.{camera}" not in table.column_names]
        if absent:
            raise ObservationError(
                f"the run in {self.path} has no camera '{absent[0]}'", expected="every camera that the policy reads"
            )
        rows = table.select(["episode_index", "frame_index", "steered", *(f"looked.{c}" for c in cameras)]).to_pylist()
        seen = [row for row in rows if all(row[f"looked.{camera}"] for camera in cameras)]
        natural = [row for row in seen if not row["steered"]] or seen
        return [(row["episode_index"], row["frame_index"]) for row in natural]


def _spread(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` indices, evenly spread, ascending."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, limit)).round()})
