"""The contracts of policies, worlds and sinks. Concrete classes need not inherit; they need to fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vlasteer.types import (
    ActionChunk,
    ActionSpec,
    EpisodeInfo,
    EpisodeKey,
    Executed,
    Observation,
    Outcome,
    RobotStatus,
    StepRecord,
)

if TYPE_CHECKING:
    from vlasteer.anatomy import Anatomy


@runtime_checkable
class Policy(Protocol):
    """A loaded VLA policy.

    One whose model is elsewhere has no anatomy to steer by. It offers `steered(steering, rows, negative_control)`,
    which `vlasteer.steering.steer` then uses, and `pack`, the features that can be steered.

    Attributes:
        name: the checkpoint's path or hub name, for people.
        kind: "openvla", "pi0", "pi0_fast".
        anatomy: where its FFNs, value vectors and token basis are.
        action_spec: convention of the actions that it returns.
        cameras: names of the images that it reads, in order; the first is the main view.
        state_size: length of the state that it reads; 0 when it reads none.
        checkpoint_hash: hex digest that feature packs are bound to.
    """

    name: str
    kind: str
    anatomy: Anatomy
    cameras: tuple[str, ...]
    state_size: int

    @property
    def action_spec(self) -> ActionSpec:
        """May raise where the checkpoint leaves it open and no option settled it."""
        ...

    @property
    def checkpoint_hash(self) -> str:
        """Takes seconds when it is first asked for."""
        ...

    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        """Answer one observation. `noise` is for policies that sample; the others refuse anything but None."""
        ...

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        """Answer several; row i is what `act` gives for observation i.

        `rows[i]` is the steering row of observation i (see `vlasteer.steering.mount`); default 0, 1, 2, ...
        """
        ...

    def example(self, seed: int = 0) -> Observation:
        """A valid observation with random images, for tests and probes."""
        ...


@runtime_checkable
class World(Protocol):
    """A place where actions have consequences: a simulation or a robot.

    Attributes:
        name: e.g. "libero_goal".
        tasks: the instruction of each task.
        starts: how many distinct initial states a task has.
        action_spec: convention of the actions that `act` takes.
        cameras: names of the images in an observation.
        state_names: one short name per state dimension.
        horizon: control steps after which the outcome becomes `HORIZON`.
    """

    name: str
    tasks: Sequence[str]
    starts: int
    action_spec: ActionSpec
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    horizon: int

    @property
    def outcome(self) -> Outcome:
        """How the current episode stands."""
        ...

    def reset(self, key: EpisodeKey) -> None:
        """Begin the episode that `key` names; the same key gives the same episode, whatever happened before."""
        ...

    def observe(self) -> Observation:
        """The newest observation. Images are there unless the last `act` was told `look=False`."""
        ...

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        """Execute one action for one control period and return what was really executed.

        `look=False` promises that nobody will look at the pictures of the next observation; a simulation then does not
        render them. States and later pictures are the same either way.
        """
        ...

    def close(self) -> None:
        """Release windows, sockets and processes. Idempotent."""
        ...


@runtime_checkable
class Robot(World, Protocol):
    """A world that does not wait: it moves while the policy thinks.

    `act` is for the synchronous mode: it submits one action and waits its period. In the overlapping mode chunks are
    submitted whole and the loop follows their execution with `advance`. Time is the monotonic clock, as in
    `Observation.time_s`. Every method may be called from any thread.
    """

    @property
    def status(self) -> RobotStatus:
        """The newest; never blocks."""
        ...

    def permit(self, held: bool, press: int = 0) -> None:
        """The operator's hold-to-run, repeated at least every 0.1 s while held.

        A permission that is older than 0.3 s counts as released: the arm decelerates and holds, and goes on only with
        a new press. That is one behind a release that was told, or one of another number: a release too short to be
        told is one all the same. `RobotStatus.refused_press` is the one that is held and does not count.

        Args:
            held: whether the operator holds.
            press: number of the press that does, from 1; 0 where presses are not counted.
        """
        ...

    def submit(self, actions: NDArray[np.float64], observed_at_s: float, *, speed: float = 1.0) -> int:
        """Replace what has not been executed yet by a chunk [n, size] that answers the observation of that time.

        Steps that are already past are dropped, but never the only one of a chunk. One bad value rejects the whole.
        `speed` in (0, 1] stretches its time. Returns how many steps were dropped.

        Raises:
            InputError: not finite, of another shape or beyond any sense; nothing was taken.
            WorldError: too old, or the robot has stopped.
        """
        ...

    def advance(self) -> Executed | None:
        """Wait for the end of the control period; what was executed in it, or None when the robot held."""
        ...

    def stop(self, reason: str) -> None:
        """Decelerate, end the program on the controller, release; only a new `reset` begins again. Idempotent."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Something that watches an episode: recorder, viewer, statistics. The loop knows no more of it than this."""

    def open(self, episode: EpisodeInfo) -> None:
        """An episode begins."""
        ...

    def step(self, record: StepRecord) -> None:
        """One control step happened."""
        ...

    def close(self, outcome: Outcome) -> None:
        """The episode ended. After `FAILED` or an exception the partial episode is kept and marked."""
        ...


class WorldFamily(Protocol):
    """What an entry point of the group `vlasteer.envs` or `vlasteer.robots` names: a module with these two."""

    def names(self) -> Sequence[str]:
        """The world names that `make` accepts."""
        ...

    def make(self, name: str, **options: object) -> World:
        """Build a world. Called in the process that will use it, maybe a worker."""
        ...


class PolicyFamily(Protocol):
    """What an entry point of the group `vlasteer.policies` names: a module with these two.

    A family whose policies are no folders also has `recognises_name(name: str) -> bool`; it is asked first, and `load`
    is then called with `folder=None`.
    """

    def recognises(self, folder: Path) -> bool:
        """Whether the checkpoint's own config.json is of this kind. Must be cheap and must not raise."""
        ...

    def load(self, folder: Path | None, name: str, **options: object) -> Policy:
        """Load the checkpoint."""
        ...
