"""LIBERO as a `World`: the benchmark's protocol around one simulation at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.libero.assets import Assets, find_assets
from vlasteer.envs.libero.packages import versions
from vlasteer.envs.libero.simulation import CAMERAS, RATE_HZ, STATE_NAMES, Simulation
from vlasteer.envs.libero.suites import HORIZONS, STARTS, initial_states, tasks_of
from vlasteer.errors import ConfigError, ConventionError, WorldError
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeKey, Gripper, Observation, Outcome

ACTION_SPEC = ActionSpec(
    kind=ActionKind.EE_DELTA,
    gripper=Gripper.MINUS_OPEN_PLUS_CLOSED,
    scale=(0.05,) * 3 + (0.5,) * 3,  # robosuite's OSC_POSE: metres and radians at 1.0
    rate_hz=float(RATE_HZ),
    names=EE_NAMES,
)


class LiberoWorld:
    """One suite of LIBERO (a `vlasteer.protocols.World`).

    An episode begins with one of the benchmark's initial states and its 10 settling steps; it ends when the task is
    solved, checked at every step, or after `horizon` further steps. `EpisodeKey.start` picks the initial state;
    `EpisodeKey.seed` decides the poses of fixtures, which initial states do not contain.

    Args:
        suite: "libero_spatial", "libero_object", "libero_goal", "libero_10" or "libero_90".
        assets: folder of meshes and textures; default: see `assets.find_assets`.
        resolution: height and width of the pictures; policies are evaluated at 256.
        horizon: step limit; default is the benchmark's for the suite. lerobot gives libero_spatial 280.
        fast: cheaper, slightly different pictures, for tests only (see `Simulation`); it is part of `facts`.

    Raises:
        UnknownNameError: no such suite.
        AssetsError: no assets, or not a folder of assets.
        MissingDependencyError: LIBERO or what it runs on is not installed.
        ConfigError: a resolution or horizon that is not a positive whole number.
    """

    starts = STARTS
    action_spec = ACTION_SPEC
    cameras = tuple(CAMERAS)
    state_names = STATE_NAMES

    def __init__(
        self,
        suite: str,
        *,
        assets: str | Path | None = None,
        resolution: int = 256,
        horizon: int | None = None,
        fast: bool = False,
    ) -> None:
        self.name = suite
        self._tasks = tasks_of(suite)
        self.tasks: Sequence[str] = tuple(task.instruction for task in self._tasks)
        self.horizon = _positive("horizon", HORIZONS[suite] if horizon is None else horizon)
        self.resolution = _positive("resolution", resolution)
        self.fast = bool(fast)
        self._assets: Assets = find_assets(assets)
        self._complete: set[int] = set()
        self._simulation: Simulation | None = None
        self._instruction = ""
        self._steps = 0
        self._outcome = Outcome.RUNNING

    @property
    def facts(self) -> dict[str, Any]:
        """What else a record of a rollout needs to be repeatable, in JSON types: options and versions."""
        options = {"suite": self.name, "horizon": self.horizon, "resolution": self.resolution, "fast": self.fast}
        return {**options, "versions": versions()}

    @property
    def outcome(self) -> Outcome:
        """How the current episode stands; `FAILED` when the physics diverged."""
        return self._outcome

    def reset(self, key: EpisodeKey) -> None:
        """Begin an episode: the same key gives the same states and pictures, whatever happened before. About 1 s.

        Raises:
            ConfigError: a task, start or seed that does not exist.
            AssetsError: files that the task needs are missing; they are named.
            WorldError: the objects cannot be placed, or there is no OpenGL.
        """
        _within("task", key.task, len(self._tasks))
        _within("start", key.start, self.starts)
        _within("seed", key.seed, 2**32)
        task = self._tasks[key.task]
        if key.task not in self._complete:
            self._assets.require(task)
            self._complete.add(key.task)
        self.close()
        self._simulation = Simulation(
            task,
            self._assets.folder,
            initial_states(task)[key.start],
            seed=key.seed,
            resolution=self.resolution,
            fast=self.fast,
        )
        self._instruction, self._steps, self._outcome = task.instruction, 0, Outcome.RUNNING

    def observe(self) -> Observation:
        """The newest observation.

        `images` is empty after an `act` with `look=False`, also when that one ended the episode: a picture that was not
        taken at its time is not taken later. `time_s` counts control steps from 0 at the reset.

        Raises:
            WorldError: there is no episode.
        """
        simulation = self._running()
        return Observation(
            images=simulation.images,
            instruction=self._instruction,
            state=simulation.state,
            time_s=self._steps / RATE_HZ,
        )

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        """Execute one action [7] in [-1, 1] for 1/20 s and return it as the controller got it: clipped to that range.

        Raises:
            ConventionError: another shape, NaN or infinity; nothing has moved then.
            WorldError: there is no episode, it has ended, or the physics diverged.
        """
        wanted = np.asarray(action, dtype=np.float64)
        if wanted.shape != (self.action_spec.size,):
            raise ConventionError(f"an action of shape {wanted.shape}", expected=f"[{self.action_spec.size}]")
        if not np.all(np.isfinite(wanted)):
            raise ConventionError(f"the action {wanted.tolist()} contains NaN or infinity", expected="finite numbers")
        simulation = self._running()
        if self._outcome is not Outcome.RUNNING:
            raise WorldError(f"the episode has ended ({self._outcome.value})", fix="Call reset first")
        executed = np.clip(wanted, -1.0, 1.0)
        try:
            solved = simulation.step(executed, look=look)
        except WorldError:
            self._outcome = Outcome.FAILED
            raise
        self._steps += 1
        if solved:
            self._outcome = Outcome.SUCCESS
        elif self._steps >= self.horizon:
            self._outcome = Outcome.HORIZON
        return executed

    def close(self) -> None:
        """Free the simulation. Idempotent; `reset` may be called again."""
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None

    def _running(self) -> Simulation:
        if self._simulation is None:
            raise WorldError(f"{self.name} has no episode", fix="Call reset first")
        return self._simulation


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} {value!r}", expected="a positive whole number")
    return value


def _within(name: str, value: int, count: int) -> None:
    if not 0 <= value < count:
        raise ConfigError(f"{name} {value} does not exist", expected=f"a whole number from 0 to {count - 1}")
