"""Values that travel between policies, worlds and sinks: observations, actions, outcomes, records.

All are immutable. Arrays inside them are to be treated as read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError, ObservationError


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one moment.

    Attributes:
        images: camera name -> uint8 [height, width, 3], RGB, upright as the policy should see it. Empty when the world
            was told that nobody would look.
        instruction: the task in words.
        state: float64 [n] proprioception in the world's units, or None when the world has none.
        time_s: when it was taken, in seconds of the world's own clock (simulated or monotonic).
    """

    images: Mapping[str, NDArray[np.uint8]]
    instruction: str
    state: NDArray[np.float64] | None = None
    time_s: float = 0.0

    def __post_init__(self) -> None:
        for name, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ObservationError(
                    f"camera '{name}' has shape {image.shape} and dtype {image.dtype}",
                    expected="uint8 [height, width, 3]",
                )
        if self.state is not None and not np.all(np.isfinite(self.state)):
            raise ObservationError(f"the state contains NaN or infinity: {np.asarray(self.state).tolist()}")


class ActionKind(StrEnum):
    """What the numbers of an action mean."""

    EE_DELTA = "ee_delta"
    """Translation (3) and rotation vector (3) of the end effector relative to where it is, then the gripper."""
    JOINT_TARGET = "joint_target"
    """Absolute joint angles (rad), then the gripper."""
    JOINT_VELOCITY = "joint_velocity"
    """Joint velocities (rad/s), then the gripper."""
    UNKNOWN = "unknown"
    """Nobody has said: the units of the policy's own training data. No world takes such actions."""


class Gripper(StrEnum):
    """How the last number of an action commands the gripper."""

    ZERO_CLOSED_ONE_OPEN = "zero_closed_one_open"
    """[0, 1], 1 is open (OpenVLA's training data)."""
    ZERO_OPEN_ONE_CLOSED = "zero_open_one_closed"
    """[0, 1], 1 is closed (openpi's UR5 data)."""
    MINUS_OPEN_PLUS_CLOSED = "minus_open_plus_closed"
    """[-1, 1], +1 is closed (LIBERO, robosuite)."""


@dataclass(frozen=True)
class ActionSpec:
    """The convention of an action vector.

    Attributes:
        kind: what the numbers mean.
        gripper: how the last number commands the gripper.
        scale: SI value (m, rad, rad/s) of 1.0 in each dimension but the gripper's: 0.05 m for LIBERO's translations.
        rate_hz: control rate for which the actions were made.
        names: one short name per dimension, the gripper last.
    """

    kind: ActionKind
    gripper: Gripper
    scale: tuple[float, ...]
    rate_hz: float
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.scale) + 1:
            raise ConfigError(
                f"{len(self.names)} action names for {len(self.scale)} scales",
                expected="one scale per name but the gripper's",
            )
        if not self.rate_hz > 0:
            raise ConfigError(f"control rate {self.rate_hz} Hz", expected="a positive number")

    @property
    def size(self) -> int:
        """Length of an action vector, gripper included."""
        return len(self.names)


EE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


@dataclass(frozen=True)
class ActionChunk:
    """What a policy answers: one or more consecutive actions.

    Attributes:
        actions: float64 [n, size], in the convention of `spec`; n is 1 for OpenVLA.
        spec: convention, units and rate of `actions`.
        normalized: float64 [n, size], the same before un-normalisation.
        token_ids: int64 [k] ids that the model generated; empty for policies that do not generate tokens.
        non_action_tokens: how many of `token_ids` are no action token (a sign of over-steering).
        observed_at_s: `Observation.time_s` of the observation that it answers.
        inference_s: seconds of wall clock that the policy took; shared by the rows of a batch.
        applied: coefficient of every mounted feature while it was computed (None: off).
    """

    actions: NDArray[np.float64]
    spec: ActionSpec
    normalized: NDArray[np.float64]
    token_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    non_action_tokens: int = 0
    observed_at_s: float = 0.0
    inference_s: float = 0.0
    applied: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[1] != self.spec.size or len(self.actions) == 0:
            raise ConfigError(f"an action chunk of shape {self.actions.shape}", expected=f"[n >= 1, {self.spec.size}]")


class Outcome(StrEnum):
    """How an episode stands or ended."""

    RUNNING = "running"
    """The episode goes on."""
    SUCCESS = "success"
    """The world says that the task is done."""
    HORIZON = "horizon"
    """The step limit was reached without success."""
    STOPPED = "stopped"
    """A person or the safety layer ended it."""
    FAILED = "failed"
    """The world broke; not a failure of the policy, and never counted as one."""


class EpisodeKey(NamedTuple):
    """Which episode: with the world's name and the actions it determines everything that happens."""

    task: int
    """Index into the world's `tasks`."""
    start: int
    """Index of the initial state (LIBERO: 0..49), or of the layout that `seed` draws."""
    seed: int
    """Seed of everything random in the world."""


@dataclass(frozen=True)
class StepRecord:
    """One control step, as sinks receive it. `observation` is what the world showed BEFORE the action.

    Attributes:
        step: 0-based control step.
        observation: images are empty at steps where nobody looked; state is always there.
        chunk: 0-based count of policy calls in the episode; `chunk_step` counts within the chunk.
        action_policy: float64 [size], the policy's own convention.
        action: float64 [size], commanded in the world's convention.
        executed: float64 [size], what the world says it really did.
        applied: coefficient of every mounted feature at the policy call (None: off).
        inference_s: wall-clock seconds of that policy call (0 inside a chunk).
        non_action_tokens: of that policy call (0 inside a chunk).
        outcome: the world's outcome AFTER the action.
        tokens: how many tokens that policy call generated (0 inside a chunk).
        extra: further numbers a world or controller wants recorded, name -> float.
    """

    step: int
    observation: Observation
    chunk: int
    chunk_step: int
    action_policy: NDArray[np.float64]
    action: NDArray[np.float64]
    executed: NDArray[np.float64]
    applied: Mapping[str, float | None]
    inference_s: float
    non_action_tokens: int
    outcome: Outcome
    tokens: int = 0
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeInfo:
    """What a sink is told when an episode begins.

    Attributes:
        index: position in the run's plan; unique in a run and stable over resumption.
        key: task, start and seed.
        instruction: the words that the policy is given (a prompt override included).
        arm: name of the condition, e.g. "unsteered" or "steered".
        world: the world's name.
        action_spec: the world's convention.
        feature_names: the knobs whose values every step carries; sorted, the same in all episodes of a run.
        extra: further facts for the episode's metadata; JSON types.
    """

    index: int
    key: EpisodeKey
    instruction: str
    arm: str
    world: str
    action_spec: ActionSpec
    feature_names: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Executed:
    """What a robot did in one control period.

    Attributes:
        action: float64 [size], what was really sent, in the world's convention.
        index: which action of the newest submitted chunk it was.
        extra: further numbers for the recording, the same names in every period: safety bits, stretch of time,
            timestamps of every source.
    """

    action: NDArray[np.float64]
    index: int
    extra: Mapping[str, float] = field(default_factory=dict)


class Phase(StrEnum):
    """What a robot's motion is at."""

    DISARMED = "disarmed"
    """Connected at most; nothing that moves is sent."""
    HOLDING = "holding"
    """Armed and standing still: the operator has let go, or there is nothing to execute."""
    RUNNING = "running"
    """Executing what was submitted."""
    STOPPED = "stopped"
    """Ended by a fault, a stop or the safety layer; only a new start by a person leads on."""


@dataclass(frozen=True)
class RobotStatus:
    """How a robot is, for people and pages.

    Attributes:
        phase: of its motion.
        safety: the controller's safety state in words, e.g. "normal", "protective stop".
        reason: why it does not move, or what the safety layer limits at the moment; "" when nothing is to be said.
        dry_run: whether nothing that moves is ever sent.
        state_age_s: age of the newest robot state.
        loop_rate_hz: measured rate of the servo loop.
        latency_s: from the observation to the first motion that answered it, of the newest chunk; NaN before.
        joints: float64 [6] measured joint angles (rad).
        tcp_pose: float64 [6] measured position (m) and rotation vector (rad) of the tool in the base frame.
        tcp_speed_m_s: measured.
        gripper: opening from 0 (closed) to 1 (open); NaN without one.
        camera_ages_s: camera name -> age of its newest frame.
        refused_press: number of the press that is told (see `Robot.permit`) and permits nothing any more; 0 for none.
    """

    phase: Phase
    safety: str
    reason: str
    dry_run: bool
    state_age_s: float
    loop_rate_hz: float
    latency_s: float
    joints: NDArray[np.float64]
    tcp_pose: NDArray[np.float64]
    tcp_speed_m_s: float
    gripper: float = float("nan")
    camera_ages_s: Mapping[str, float] = field(default_factory=dict)
    refused_press: int = 0
