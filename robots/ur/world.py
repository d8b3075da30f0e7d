"""The UR5 and UR5e as a world: a `vlasteer.protocols.Robot` around one servo process per episode.

A servo process is started by `reset` and ends with `stop`, `close` or a fault it cannot live with. Nothing moves at any
of these: motion takes the operator's permission and a chunk that was submitted after it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConventionError, WorldError
from vlasteer.kinematics import Vector
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.convention import Convention
from vlasteer.robots.ur.preflight import Check
from vlasteer.robots.ur.process import PROGRAM, ServoProcess, age_s
from vlasteer.robots.ur.status import ServoStatus
from vlasteer.types import EpisodeKey, Executed, Observation, Outcome, Phase, RobotStatus

if TYPE_CHECKING:
    from vlasteer.robots.cameras import Camera
    from vlasteer.robots.ur.gripper import GripperThread

HORIZON = 2400
"""Two minutes of actions at 20 Hz."""


@dataclass(frozen=True)
class Reading:
    """When one part of an observation was taken (monotonic clock, s), and how long it took to be here."""

    time_s: float
    latency_s: float


@dataclass(frozen=True)
class _Chunk:
    """A chunk that was submitted: its number, and the opening of the gripper that each action asks for."""

    number: int
    openings: NDArray[np.float64]
    grippers: NDArray[np.float64]


class URWorld:
    """One robot. Every method may be called from any thread.

    Args:
        config: the robot.
        cameras: the policy's name of a camera -> camera. Not closed here.
        gripper: its thread, or None. Not closed here.
        instruction: the task in words.
        dry_run: read only. Chunks go through the same trajectory and filter, and end there: nothing is connected that
            could move the arm.
        log: folder for the servo log of every episode, or None.
        horizon: actions after which an episode ends.
        owned: what `close` is to close besides; the cameras and the gripper, where nobody else does.
        program: what the interpreter of a servo process runs, for tests.

    Attributes:
        readings: of the newest observation: "robot", "gripper" and every camera's name -> when it was taken.
        checks: rows of the newest preflight, also of one that refused.
    """

    def __init__(
        self,
        config: RobotConfig,
        *,
        cameras: Mapping[str, Camera],
        gripper: GripperThread | None,
        instruction: str,
        dry_run: bool = False,
        log: Path | None = None,
        horizon: int = HORIZON,
        owned: ExitStack | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._owned = owned
        self.name, self.config, self.dry_run = config.model, config, dry_run
        self.tasks: Sequence[str] = (instruction,)
        self.action_spec = config.action.spec
        self.cameras: tuple[str, ...] = tuple(cameras)
        self.starts, self.horizon = 1, horizon
        self.checks: list[Check] = []
        self._convention = Convention(config)
        self.state_names = self._convention.state_names
        self.readings: dict[str, Reading] = {}
        self._cameras, self._gripper, self._log, self._program = dict(cameras), gripper, log, tuple(program)
        self._servo: ServoProcess | None = None
        self._stopped, self._failed = "", False
        self._lock = threading.RLock()
        self._episodes = self._steps = 0
        self._chunk, self._chunks = _Chunk(-1, np.zeros(0), np.zeros(0)), 0
        self._due_s, self._before = 0.0, ServoStatus()

    # --- episode ------------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """What else a record of a run needs, in JSON types."""
        return {
            "world": self.name,
            "host": self.config.host,
            "dry_run": self.dry_run,
            "checks": [[row.name, row.expected, row.found] for row in self.checks],
        }

    @property
    def outcome(self) -> Outcome:
        """How the episode stands: `STOPPED` in a latched stop, too; `FAILED` when the servo process was lost."""
        servo = self._servo
        if self._failed or (servo is not None and not servo.alive and not self._stopped):
            return Outcome.FAILED
        if self._steps >= self.horizon:
            return Outcome.HORIZON
        halted = servo is not None and servo.status.phase is Phase.STOPPED
        return Outcome.STOPPED if self._stopped or halted else Outcome.RUNNING

    def reset(self, key: EpisodeKey) -> None:
        """Start a servo process, and compare the robot with its file. Nothing moves.

        The scene is set by hand: `key` names the episode and changes nothing.

        Raises:
            WorldError: preflight refuses, or the robot does not answer.
        """
        with self._lock:
            self._end("a new episode begins")
            self._stopped, self._failed, self._steps = "", False, 0
            self._chunk = _Chunk(-1, np.zeros(0), np.zeros(0))
            log = None if self._log is None else self._log / f"servo-{self._episodes:03d}.jsonl"
            self._episodes += 1
            self._servo = servo = ServoProcess(
                self.config, dry_run=self.dry_run, log=log, on_status=self._on_status, program=self._program
            )
            try:
                servo.open()
            except BaseException:
                self._failed = True
                raise
            finally:
                self.checks = servo.checks
            self._await_state(servo)
            self._due_s, self._before = time.monotonic(), servo.status

    def observe(self) -> Observation:
        """The newest of everything. Its time is that of the oldest part, which is what the policy answers to.

        Raises:
            WorldError: there is no episode, or the robot's state or a picture is stale.
        """
        servo = self._running()
        status = servo.status
        age = age_s(status)
        if age > _STALE_S:
            raise WorldError(
                f"the newest robot state is {age:.2f} s old ({status.reason or 'no reason known'})",
                expected=f"at most {_STALE_S:g} s",
            )
        now = time.monotonic()
        readings = {"robot": Reading(status.time_s - status.state_age_s, now - status.time_s + status.state_age_s)}
        images = {}
        for name, camera in self._cameras.items():
            frame = camera.frame()
            images[name] = frame.image
            readings[name] = Reading(frame.time_s, frame.latency_s)
        opening = 1.0
        if self._gripper is not None:
            opening, gripper_age = self._gripper.opening, self._gripper.age_s
            if not gripper_age < _GRIPPER_STALE_S or not math.isfinite(opening):
                raise WorldError(f"the gripper was last read {gripper_age:.1f} s ago", fix="Check its connection")
            readings["gripper"] = Reading(now - gripper_age, gripper_age)
        self.readings = readings
        oldest = min(reading.time_s for name, reading in readings.items() if name != "gripper")
        state = self._convention.state(np.array(status.q), np.array(status.tcp_pose), opening)
        return Observation(images, self.tasks[0], state, oldest)

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        """Execute one action for one period, and return what was sent of it: the synchronous mode.

        While the operator does not hold, nothing is executed, which is what is returned.

        Raises:
            InputError: not finite, of another shape or beyond any sense.
            WorldError: the robot has stopped.
        """
        self._due_s = time.monotonic()
        self._before = self._running().status
        self.submit(np.asarray(action, np.float64)[None], time.monotonic())
        executed = self.advance()
        return self._nothing() if executed is None else executed.action

    def stop(self, reason: str) -> None:
        """Decelerate, end the program on the controller and the servo process. Idempotent."""
        with self._lock:
            self._stopped = self._stopped or reason
            self._end(reason)

    def close(self) -> None:
        """The same. Idempotent."""
        with self._lock:
            self._end("closed")
            self._servo = None
            if self._owned is not None:
                self._owned.close()

    # --- the robot ----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> RobotStatus:
        """The newest; never blocks."""
        servo = self._servo
        status = ServoStatus() if servo is None else servo.status
        return RobotStatus(
            phase=status.phase,
            safety=status.safety,
            reason=status.reason,
            dry_run=self.dry_run,
            state_age_s=age_s(status),
            loop_rate_hz=status.rate_hz,
            latency_s=status.latency_s,
            joints=np.array(status.q),
            tcp_pose=np.array(status.tcp_pose),
            tcp_speed_m_s=status.tcp_speed_m_s,
            gripper=math.nan if self._gripper is None else self._gripper.opening,
            camera_ages_s={name: camera.age_s for name, camera in self._cameras.items()},
            refused_press=status.refused_press,
        )

    def permit(self, held: bool, press: int = 0) -> None:
        """The operator's hold-to-run; see `vlasteer.protocols.Robot`."""
        servo = self._servo
        if servo is not None:
            servo.permit(held, press)

    def submit(self, actions: NDArray[np.float64], observed_at_s: float, *, speed: float = 1.0) -> int:
        """Replace what has not begun; see `vlasteer.protocols.Robot`. All are dropped while the operator does not hold.

        Raises:
            InputError: not finite, of another shape or beyond any sense; nothing was taken.
            WorldError: too old, or the robot has stopped.
        """
        servo = self._running()
        actions = np.asarray(actions, np.float64)
        if actions.ndim != 2 or actions.shape[1] != self.action_spec.size or not len(actions):
            raise ConventionError(
                f"actions of shape {actions.shape}", expected=f"[n, {self.action_spec.size}], n at least 1"
            )
        bad = np.argwhere(~np.isfinite(actions))
        if len(bad):
            step, place = bad[0]
            raise ConventionError(
                f"number {place} of action {step} is {actions[step, place]}", expected="finite numbers"
            )
        grippers = actions[:, -1]
        motions, openings = self._convention.motions(actions), self._convention.openings(grippers)
        with self._lock:
            before, number = self._chunk, self._chunks
            self._chunk, self._chunks = _Chunk(number, openings, grippers), number + 1
            try:
                return servo.submit(
                    motions, self.action_spec.kind, 1.0 / self.action_spec.rate_hz, observed_at_s, speed, number
                )
            except BaseException:
                self._chunk = before  # nothing was taken: the one before goes on
                raise

    def advance(self) -> Executed | None:
        """Wait for the end of the control period; what was executed in it, or None when the robot held.

        Raises:
            WorldError: there is no episode, or the servo process was lost.
        """
        servo = self._running()
        period = 1.0 / self.action_spec.rate_hz
        now = time.monotonic()
        self._due_s += period
        if self._due_s < now - period:  # whoever calls was away: no periods are caught up
            self._due_s = now
        time.sleep(max(0.0, self._due_s - now))
        before, after = self._before, servo.status
        self._before = after
        if not servo.alive and not self._stopped:
            self._failed = True
            raise WorldError(f"the servo process has gone: {after.reason}", fix="Look at the arm, then start again")
        if after.moved == before.moved or not np.all(np.isfinite(after.commanded)):
            return None
        self._steps += 1
        return Executed(self._executed(before, after), after.index, self._extra(after))

    def recover(self) -> None:
        """A person has looked at the arm and confirms: leave a latched stop, unlock a protective one.

        Never to be called by a program on its own. The arm stays still until the operator lets go and holds again.

        Raises:
            WorldError: the controller refuses (a protective stop: until 5 s after it), or it ends at the pendant only.
        """
        self._running().recover()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _executed(self, before: ServoStatus, after: ServoStatus) -> Vector:
        """What was commanded in a period, in the world's convention."""
        grippers = self._chunk.grippers
        gripper = grippers[min(max(after.index, 0), len(grippers) - 1)] if len(grippers) else self._convention.open
        was = before.commanded if np.all(np.isfinite(before.commanded)) else before.q
        return self._convention.executed(np.array(was), np.array(after.commanded), float(gripper))

    def _nothing(self) -> Vector:
        """The action that moves nothing."""
        grippers = self._chunk.grippers
        gripper = grippers[0] if len(grippers) else self._convention.open
        q = np.array(self._running().status.q)
        return self._convention.executed(q, q, float(gripper))

    def _extra(self, status: ServoStatus) -> dict[str, float]:
        extra = {
            "robot.time_s": status.time_s - status.state_age_s,
            "robot.state_age_s": status.state_age_s,
            "robot.safety_bits": float(status.safety_bits),
            "robot.limited": float(status.limited),
            "robot.stretch": status.stretch,
            "robot.force_n": status.force_n,
            "robot.latency_s": status.latency_s,
        }
        for name in self._cameras:
            extra[f"camera.{name}.age_s"] = self._cameras[name].age_s
        if self._gripper is not None:
            extra["gripper.age_s"] = self._gripper.age_s
        return extra

    def _on_status(self, status: ServoStatus) -> None:
        """In the link's thread: the gripper does what the action that is executed says."""
        chunk = self._chunk
        if self._gripper is None or self.dry_run or status.phase is not Phase.RUNNING or status.chunk != chunk.number:
            return
        if 0 <= status.index < len(chunk.openings):
            self._gripper.command(float(chunk.openings[status.index]))

    def _await_state(self, servo: ServoProcess) -> None:
        deadline = time.monotonic() + 2.0
        while not servo.status.time_s and servo.alive and time.monotonic() < deadline:
            servo.wait_status(0.1)

    def _end(self, reason: str) -> None:
        servo = self._servo
        if servo is not None and servo.alive:
            servo.end(reason)

    def _running(self) -> ServoProcess:
        servo = self._servo
        if servo is None:
            raise WorldError(f"{self.name} has no episode", fix="Call reset first")
        if not servo.alive:
            raise WorldError(f"{self.name} has stopped: {servo.status.reason}", fix="Call reset to begin again")
        return servo


_STALE_S = 0.25
_GRIPPER_STALE_S = 1.0
