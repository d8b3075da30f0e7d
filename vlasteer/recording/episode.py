"""One recorded episode as arrays, with the observations that the policy saw: what replaying needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.recording.layout import Layout
from vlasteer.recording.reader import episode_frames, read_episodes, read_layout, read_steps
from vlasteer.recording.tables import read_tasks
from vlasteer.types import EpisodeKey, Observation, Outcome

Array = NDArray[np.float64]
OBSERVED = "observed_at_s"
"""Name in `StepRecord.extra` of the time of the observation that a chunk answers."""


@dataclass(frozen=True, eq=False)
class RecordedEpisode:
    """An episode; made by `load`. Row k of every array is step k of the recording.

    Attributes:
        root: the run.
        index: its `episode_index`.
        facts: its row of `read_episodes`: plan_index, arm, world, outcome, ...
        layout: of the recording.
        step: int64 [n] the controller's own count; 0, 1, 2, ... when recording was never switched off.
        states: float64 [n, state]; [n, 0] when the world has none.
        times_s: float64 [n] of the world's clock.
        asked_s: float64 [n] when the observation was taken that the step's action answers. A robot that moves while the
            policy thinks records it as the extra `OBSERVED`; elsewhere it is the time of the chunk's first step.
        policy_actions, commanded, executed: float64 [n, size].
        chunk, chunk_step: int64 [n].
        knobs: feature -> float64 [n] coefficient (NaN: off).
        outcomes: after every step.
        instructions: that the policy was given at every step.
        looked: camera -> bool [n].
    """

    root: Path
    index: int
    facts: Mapping[str, Any]
    layout: Layout
    step: NDArray[np.int64]
    states: Array
    times_s: Array
    asked_s: Array
    policy_actions: Array
    commanded: Array
    executed: Array
    chunk: NDArray[np.int64]
    chunk_step: NDArray[np.int64]
    knobs: Mapping[str, Array]
    outcomes: tuple[Outcome, ...]
    instructions: tuple[str, ...]
    looked: Mapping[str, NDArray[np.bool_]]

    @classmethod
    def load(cls, root: Path | str, index: int) -> RecordedEpisode:
        """Read episode `index` (its `episode_index`) of a recording.

        Raises:
            InputError: no recording, or no such episode.
        """
        root = Path(root)
        layout, table = read_layout(root), read_steps(root, [index])
        facts = next(row for row in read_episodes(root) if row["episode_index"] == index)
        tasks = read_tasks(root / "meta/tasks.parquet")

        def column(name: str) -> NDArray[Any]:
            return np.asarray(table[name].to_numpy(zero_copy_only=False))

        def matrix(name: str) -> Array:
            return np.stack(table[name].to_numpy(zero_copy_only=False)).astype(np.float64)

        times, chunk = column("world.time_s"), column("policy.chunk")
        return cls(
            root=root,
            index=index,
            facts=facts,
            layout=layout,
            step=column("step"),
            states=matrix("world.state") if layout.state_names else np.zeros((table.num_rows, 0)),
            times_s=times,
            asked_s=column(f"extra.{OBSERVED}") if OBSERVED in layout.extras else times[_firsts(chunk)],
            policy_actions=matrix("policy.action"),
            commanded=matrix("commanded.action"),
            executed=matrix("executed.action"),
            chunk=chunk,
            chunk_step=column("policy.chunk_step"),
            knobs={name: column(f"steering.{name}") for name in layout.features},
            outcomes=tuple(map(Outcome, table["next.outcome"].to_pylist())),
            instructions=tuple(tasks[i] for i in table["task_index"].to_pylist()),
            looked={camera: column(f"looked.{camera}") for camera in layout.cameras},
        )

    def __len__(self) -> int:
        return len(self.step)

    @property
    def key(self) -> EpisodeKey:
        """Task, start and seed."""
        return EpisodeKey(self.facts["task"], self.facts["start"], self.facts["seed"])

    @property
    def asked(self) -> NDArray[np.int64]:
        """int64 [calls]: the first step of every chunk."""
        return np.unique(_firsts(self.chunk))

    def knobs_at(self, step: int) -> dict[str, float | None]:
        """Coefficients at a step (None: off)."""
        values = {name: float(column[step]) for name, column in self.knobs.items()}
        return {name: None if np.isnan(value) else value for name, value in values.items()}

    def pictures(self) -> Iterator[dict[str, NDArray[np.uint8]]]:
        """Step by step, what the cameras saw: those that nobody looked at are left out."""
        videos = {camera: episode_frames(self.root, self.index, camera) for camera in self.layout.cameras}
        for k in range(len(self)):
            frames = {camera: next(video) for camera, video in videos.items()}
            yield {camera: frame for camera, frame in frames.items() if self.looked[camera][k]}

    def observations(self) -> Iterator[tuple[int, Observation]]:
        """What the policy saw, with the step that it was asked before; exact when the recording is lossless.

        Left out are calls whose observation is not among the steps': of a robot that moved while the policy thought,
        and of a chunk that had begun before recording did. `read_calls` may have them.
        """
        asked = set(self.asked[self.asked_s[self.asked] == self.times_s[self.asked]].tolist())
        for k, images in enumerate(self.pictures()):
            if k in asked and len(images) == len(self.layout.cameras):
                state = self.states[k] if self.layout.state_names else None
                yield k, Observation(images, self.instructions[k], state, float(self.times_s[k]))


def _firsts(chunk: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: for every step, the first one of its chunk."""
    starts = np.diff(chunk, prepend=-1) != 0
    return np.maximum.accumulate(np.where(starts, np.arange(len(chunk)), 0))
