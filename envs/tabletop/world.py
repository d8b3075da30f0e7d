"""The tabletop as a `World`: tasks, episodes, outcomes around one simulation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.gl import choose_gl
from vlasteer.envs.tabletop.expert import expert_action
from vlasteer.envs.tabletop.language import canonical
from vlasteer.envs.tabletop.layout import Layout, draw_layout
from vlasteer.envs.tabletop.manner import Manner
from vlasteer.envs.tabletop.scene import CAMERAS
from vlasteer.envs.tabletop.simulation import ACTION_SPEC, RATE_HZ, STATE_NAMES, Simulation
from vlasteer.envs.tabletop.splits import Axis, parse_split
from vlasteer.envs.tabletop.tasks import Snapshot, Task, TaskKind, succeeded, tasks_of
from vlasteer.errors import ConfigError, UnknownNameError, WorldError
from vlasteer.types import EpisodeKey, Observation, Outcome

HORIZON = 120
"""Twice the longest episode of the expert at its slowest."""
STARTS = 100


class TabletopWorld:
    """Tasks of one or several kinds (a `vlasteer.protocols.World`).

    `EpisodeKey.start` and `EpisodeKey.seed` together draw the layout; every pair is another one.

    Args:
        name: what the world is called.
        kinds: which tasks it offers.
        split: "held_out" (default: what nano policies were not trained on), "train", or the axes that are held out, by
            name ("positions,phrasings"); see `splits`.
        resolution: height and width of the pictures, 16 to 640.
        cameras: which of `CAMERAS`; each one costs its picture.
        horizon: step limit.

    Attributes:
        task_specs: what the instructions in `tasks` stand for, in the same order.

    Raises:
        ConfigError: a resolution or horizon out of range, or no camera.
        UnknownNameError: no such split or camera.
    """

    starts = STARTS
    action_spec = ACTION_SPEC
    state_names: tuple[str, ...] = STATE_NAMES

    def __init__(
        self,
        name: str,
        kinds: Sequence[TaskKind],
        *,
        split: str | Iterable[str] = "held_out",
        resolution: int = 224,
        cameras: Sequence[str] = CAMERAS,
        horizon: int = HORIZON,
    ) -> None:
        self.name = name
        self.split = parse_split(split)
        if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
            raise ConfigError(f"horizon {horizon!r}", expected="a positive whole number")
        self.horizon = horizon
        self.cameras = _known_cameras(cameras)
        self.task_specs: tuple[Task, ...] = tuple(task for kind in kinds for task in tasks_of(kind, self.split))
        self.tasks: Sequence[str] = tuple(canonical(task, self.split) for task in self.task_specs)
        self._simulation = Simulation(resolution, self.cameras)
        self._layout: Layout | None = None
        self._instruction, self._steps, self._outcome = "", 0, Outcome.RUNNING
        self._pictures: dict[str, NDArray[np.uint8]] | None = None

    @property
    def resolution(self) -> int:
        """Height and width of the pictures."""
        return self._simulation.image_size

    @property
    def facts(self) -> dict[str, Any]:
        """What else a record of a rollout needs to be repeatable, in JSON types: options and versions."""
        return {
            "world": self.name,
            "split": [axis.value for axis in Axis if axis in self.split],
            "resolution": self.resolution,
            "cameras": list(self.cameras),
            "horizon": self.horizon,
            "versions": {"mujoco": metadata.version("mujoco"), "gl": choose_gl() or "default"},
        }

    @property
    def outcome(self) -> Outcome:
        """How the current episode stands; `FAILED` when the physics diverged."""
        return self._outcome

    def reset(self, key: EpisodeKey) -> None:
        """Begin an episode. A few milliseconds.

        Raises:
            ConfigError: a task, start or seed that does not exist.
        """
        for field, count in (("task", len(self.task_specs)), ("start", self.starts), ("seed", 2**32)):
            if not 0 <= getattr(key, field) < count:
                raise ConfigError(
                    f"{field} {getattr(key, field)} does not exist", expected=f"a whole number from 0 to {count - 1}"
                )
        layout = draw_layout(self.task_specs[key.task], self.split, key.start, key.seed)
        self._simulation.reset(layout)
        self._layout, self._instruction = layout, self.tasks[key.task]
        self._steps, self._outcome, self._pictures = 0, Outcome.RUNNING, None

    def observe(self) -> Observation:
        """The newest observation; pictures are drawn when it is first asked for.

        `images` is empty after an `act` with `look=False`. `time_s` counts control steps from 0 at the reset.

        Raises:
            WorldError: there is no episode, or no OpenGL.
        """
        self._running()
        if self._pictures is None:
            self._pictures = self._simulation.pictures()
        return Observation(
            images=dict(self._pictures),
            instruction=self._instruction,
            state=self._simulation.state(),
            time_s=self._steps / RATE_HZ,
        )

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        """Execute one action [7] for 1/20 s and return what of it was executed (see `simulation`).

        Raises:
            ConventionError: not 7 finite numbers; nothing has moved then.
            WorldError: there is no episode, it has ended, or the physics diverged.
        """
        layout = self._running()
        if self._outcome is not Outcome.RUNNING:
            raise WorldError(f"the episode has ended ({self._outcome.value})", fix="Call reset first")
        try:
            executed = self._simulation.step(action)
        except WorldError:
            self._outcome = Outcome.FAILED
            raise
        self._steps += 1
        self._pictures = None if look else {}
        if succeeded(layout.task.kind, self._simulation.snapshot()):
            self._outcome = Outcome.SUCCESS
        elif self._steps >= self.horizon:
            self._outcome = Outcome.HORIZON
        return executed

    def snapshot(self) -> Snapshot:
        """The privileged state, for experts and diagnosis.

        Raises:
            WorldError: there is no episode.
        """
        self._running()
        return self._simulation.snapshot()

    def expert(self, manner: Manner = Manner()) -> NDArray[np.float64]:  # noqa: B008 (immutable)
        """The scripted expert's action [7] in the current state.

        Raises:
            WorldError: there is no episode.
        """
        return expert_action(self._running().task.kind, self._simulation.snapshot(), manner)

    def close(self) -> None:
        """Free the rendering context. Idempotent; `reset` may be called again."""
        self._simulation.close()
        self._layout = None

    def _running(self) -> Layout:
        if self._layout is None:
            raise WorldError(f"{self.name} has no episode", fix="Call reset first")
        return self._layout


def _known_cameras(names: Sequence[str]) -> tuple[str, ...]:
    wanted = (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        if name not in CAMERAS:
            raise UnknownNameError.among("camera", name, CAMERAS)
    if not wanted:
        raise ConfigError("no camera for the tabletop", expected=f"some of {', '.join(CAMERAS)}")
    return wanted
