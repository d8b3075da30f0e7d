"""Trajectory and filter as one machine for the servo process: inputs with explicit times in, one command per tick out.

Pure: no clock, no I/O, no threads. The same inputs give the same commands bit for bit, so the log of the inputs, which
`log` receives entry by entry as plain data that fits one line of JSON, is enough to reproduce a run: `replay`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlasteer.errors import InputError, WorldError
from vlasteer.kinematics import ArmModel, Vector, arm_model
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.safety_filter import Filtered, SafetyFilter
from vlasteer.robots.ur.trajectory import Trajectory
from vlasteer.types import ActionKind

Log = Callable[[dict[str, Any]], None]


class _Permit(Enum):
    RELEASED = "released"
    HELD = "held"
    LAPSED = "lapsed"


@dataclass(frozen=True)
class Progress:
    """How the execution stands.

    Attributes:
        chunk: 0-based count of accepted chunks; -1 before the first.
        step: which action of that chunk is being executed or was last; -1 while one of the chunk before is finished.
        queued: how many of its actions have not begun.
        stretch: how much longer than its period the limits make that action.
        permitted: whether the operator's permission is in force.
        idle: nothing is left to execute.
    """

    chunk: int
    step: int
    queued: int
    stretch: float
    permitted: bool
    idle: bool


class ServoMotion:
    """What one servo process commands. Times are those of the caller's monotonic clock, s.

    Nothing moves before `start`, a permission that was given after it, and a chunk whose observation is newer than the
    last release.

    Args:
        arm, tcp, limits, workspace, period_s: as of `SafetyFilter`.
        log: receives every input.
    """

    def __init__(
        self,
        arm: ArmModel,
        tcp: ArrayLike,
        limits: Limits,
        workspace: Workspace,
        period_s: float = 0.008,
        log: Log | None = None,
    ) -> None:
        self.limits = limits
        self.filter = SafetyFilter(arm, tcp, limits, workspace, period_s)
        self._trajectory = Trajectory(self.filter.points, limits, self.filter.walls, period_s)
        self._range = np.array(arm.joint_limit)
        self._log = log
        self._permit, self._permitted_at_s, self._released_at_s = _Permit.LAPSED, -math.inf, -math.inf
        self._chunk, self._observed_at_s = -1, -math.inf
        self._expired = False
        self._submitted_at_s, self._gap_s = -math.inf, 0.0
        self._write(
            "configure",
            arm=arm.name,
            tcp=np.asarray(tcp, np.float64).tolist(),
            limits=asdict(limits),
            workspace=asdict(workspace),
            period_s=period_s,
        )

    @property
    def progress(self) -> Progress:
        """How the execution stands."""
        way = self._trajectory
        return Progress(self._chunk, way.step, way.queued, way.stretch, self._permit is _Permit.HELD, way.idle)

    def start(self, q_actual: ArrayLike) -> None:
        """Begin, or begin again, where the arm stands, at zero speed and with nothing to execute.

        The permission is to be given anew: `permit(False)` first, then `permit(True)`.

        Raises:
            WorldError: the arm stands outside of its limits.
        """
        self._write("start", q=np.asarray(q_actual, np.float64).tolist())
        self.filter.start(q_actual)
        self._trajectory.clear()
        self._permit, self._expired = _Permit.LAPSED, False

    def permit(self, held: bool, now_s: float) -> None:
        """The operator's hold-to-run; to be repeated while held, see `Limits.permit_age`.

        Letting go decelerates to hold and forgets what is queued. A permission that grew too old, or that is from
        before the start, counts again only after a release.
        """
        self._write("permit", held=bool(held), now_s=now_s)
        self._check_permit(now_s)
        if not held:
            self._release(_Permit.RELEASED, now_s)
        elif self._permit is not _Permit.LAPSED:
            self._permit, self._permitted_at_s = _Permit.HELD, now_s

    def submit(
        self,
        actions: ArrayLike,
        kind: ActionKind,
        step_s: float,
        observed_at_s: float,
        now_s: float,
        speed: float = 1.0,
    ) -> int:
        """Replace what has not begun by a chunk; return how many of its actions are dropped.

        Dropped are those that are already past, but never the last; all of them without the operator's permission, when
        the observation is from before the operator last let go, or when a newer one has been answered already.

        Args:
            actions: [n, 6] in SI units, the gripper left out. EE_DELTA: translation (m) and rotation vector (rad) of
                the tool in the arm's base frame, relative to the pose that is commanded when its turn comes, the
                rotation about the tool point: R_new = R(delta) R_old. JOINT_TARGET: joint angles (rad).
            kind: which of the two.
            step_s: period of one action.
            observed_at_s: when the observation was taken that the chunk answers; action i is for the time from
                observed_at_s + i * step_s / speed.
            speed: in (0, 1], stretches time.

        Raises:
            InputError: not finite, of another shape, or beyond any sense; nothing was taken.
            WorldError: the observation is too old; nothing was taken.
        """
        chunk = self._checked(actions, kind, step_s, observed_at_s, now_s, speed)
        self._write(
            "submit",
            actions=chunk.tolist(),
            kind=kind.value,
            step_s=step_s,
            observed_at_s=observed_at_s,
            now_s=now_s,
            speed=speed,
        )
        age = now_s - observed_at_s
        if age > self.limits.chunk_age:
            raise WorldError(
                f"an action chunk answers an observation that is {age:.2f} s old",
                expected=f"at most {self.limits.chunk_age:g} s",
                fix="Use a faster policy or device, or raise limits.chunk_age",
            )
        self._check_permit(now_s)
        if self._permit is not _Permit.HELD or observed_at_s < max(self._released_at_s, self._observed_at_s):
            return len(chunk)
        step_s = step_s / speed
        dropped = min(len(chunk) - 1, max(0, math.floor(age / step_s)))
        if kind is ActionKind.JOINT_TARGET:
            self._check_jump(chunk[dropped:], dropped)
        self._trajectory.replace(chunk[dropped:], kind, step_s, dropped, self._pace(observed_at_s, now_s, step_s))
        self._chunk, self._observed_at_s, self._expired = self._chunk + 1, observed_at_s, False
        return dropped

    def tick(self, now_s: float) -> Filtered:
        """The command of one control period.

        Raises:
            WorldError: not started.
        """
        self._write("tick", now_s=now_s)
        self._check_permit(now_s)
        if not self._trajectory.idle and now_s - self._observed_at_s > self.limits.chunk_expiry:
            self._trajectory.clear()
            self._expired = True
        wanted, reasons = self._trajectory.advance(self.filter.q, self.filter.qd)
        if self._permit is _Permit.LAPSED:
            reasons |= Reason.LAPSED
        elif self._permit is _Permit.RELEASED:
            reasons |= Reason.RELEASED
        elif self._expired:
            reasons |= Reason.EXPIRED
        elif self._trajectory.idle and self._chunk >= 0:
            reasons |= Reason.UNDERRUN
        filtered = self.filter.tick(wanted)
        return Filtered(filtered.q, filtered.qd, filtered.reasons | reasons, filtered.held)

    def _pace(self, observed_at_s: float, now_s: float, step_s: float) -> float:
        """When the next chunk is expected, s from now; 0 where chunks do not come as a stream.

        They do when the policy looked again before the last chunk's first action was over. The longest recent gap
        counts, forgotten slowly: an arm that waits for a late action jerks, one that is a little slower does not.
        """
        gap, streams = now_s - self._submitted_at_s, observed_at_s < self._submitted_at_s + step_s / 2
        self._submitted_at_s = now_s
        self._gap_s = max(gap, self._gap_s + _FORGET * (gap - self._gap_s)) if streams else 0.0
        return min(self._gap_s, _SPREAD * step_s)

    # --- permission ---------------------------------------------------------------------------------------------------

    def _check_permit(self, now_s: float) -> None:
        if self._permit is _Permit.HELD and not now_s - self._permitted_at_s <= self.limits.permit_age:
            self._release(_Permit.LAPSED, now_s)

    def _release(self, to: _Permit, now_s: float) -> None:
        if self._permit is _Permit.HELD:
            self._released_at_s = now_s
        self._permit = to
        self._trajectory.clear()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _checked(
        self, actions: ArrayLike, kind: ActionKind, step_s: float, observed_at_s: float, now_s: float, speed: float
    ) -> Vector:
        """The actions as float64 [n, 6], or an error that names the first value that cannot be."""
        for name, value in (("step_s", step_s), ("observed_at_s", observed_at_s), ("now_s", now_s), ("speed", speed)):
            if not math.isfinite(value):
                raise InputError(f"{name} of an action chunk is {value!r}", expected="a finite number")
        if not 0.0 < speed <= 1.0:
            raise InputError(f"the speed of an action chunk is {speed!r}", expected="more than 0, at most 1")
        if not 0.002 <= step_s <= 2.0:
            raise InputError(f"the period of an action is {step_s!r} s", expected="0.002 to 2 s")
        if observed_at_s > now_s + _AHEAD:
            raise InputError(
                f"an action chunk answers an observation {observed_at_s - now_s:.3f} s ahead",
                expected="the monotonic clock of this machine",
            )
        if kind not in (ActionKind.EE_DELTA, ActionKind.JOINT_TARGET):
            raise InputError(f"actions of kind '{kind}'", expected="ee_delta or joint_target")
        try:
            chunk = np.array(actions, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"an action chunk that is no array of numbers: {error}", expected="[n, 6]") from error
        if chunk.ndim != 2 or chunk.shape[1] != 6 or not 1 <= len(chunk) <= _LONGEST:
            raise InputError(f"an action chunk of shape {chunk.shape}", expected=f"[n, 6], n from 1 to {_LONGEST}")
        bad = np.argwhere(~np.isfinite(chunk))
        if len(bad):
            step, place = bad[0]
            raise InputError(f"number {place} of action {step} is {chunk[step, place]}", expected="finite numbers")
        if kind is ActionKind.JOINT_TARGET:
            bad = np.argwhere(np.abs(chunk) > self._range)
            if len(bad):
                step, joint = bad[0]
                raise InputError(
                    f"joint {joint} of action {step} is {chunk[step, joint]:.4g} rad",
                    expected=f"at most {self._range[joint]:.4g}",
                    fix="Check that the policy's targets are in radians",
                )
            return chunk
        for name, part, most, unit, usual in (
            ("translation", chunk[:, :3], self.limits.delta_distance, "m", "metres"),
            ("rotation", chunk[:, 3:], self.limits.delta_turn, "rad", "radians"),
        ):
            sizes = np.sqrt((part**2).sum(axis=1))
            bad = np.flatnonzero(~(sizes <= most))
            if len(bad):
                raise InputError(
                    f"the {name} of action {bad[0]} is {sizes[bad[0]]:.4g} {unit}: {part[bad[0]].tolist()}",
                    expected=f"at most {most:g} {unit} in one action",
                    fix=f"Check that the policy's deltas are in {usual} and not normalised",
                )
        return chunk

    def _check_jump(self, targets: Vector, first: int) -> None:
        before = np.vstack([self.filter.q, targets[:-1]])
        bad = np.argwhere(np.abs(targets - before) > self.limits.joint_jump)
        if len(bad):
            step, joint = bad[0]
            raise InputError(
                f"joint {joint} of action {first + step} is {targets[step, joint] - before[step, joint]:+.3f} rad from "
                + ("the last command" if step == 0 else "the action before"),
                expected=f"at most {self.limits.joint_jump:g} rad",
            )

    def _write(self, what: str, /, **values: Any) -> None:
        if self._log is not None:
            self._log({"input": what, **values})


def replay(log: Iterable[Mapping[str, Any]]) -> list[Filtered]:
    """The commands of a run from the log of its inputs, one per tick, bit for bit those of the run.

    Raises:
        InputError: the log does not begin with a configuration or has an entry that is none of an input.
    """
    motion: ServoMotion | None = None
    commands: list[Filtered] = []
    for number, entry in enumerate(log):
        values = {name: value for name, value in entry.items() if name != "input"}
        kind = entry.get("input")
        if kind == "configure":
            motion = _configured(values)
        elif motion is None or kind not in ("start", "permit", "submit", "tick"):
            raise InputError(f"entry {number} of a motion log is '{kind}'", expected="a configuration, then its inputs")
        elif kind == "tick":
            commands.append(motion.tick(values["now_s"]))
        elif kind == "permit":
            motion.permit(values["held"], values["now_s"])
        elif kind == "start":
            _refusable(motion.start, values["q"])
        else:
            _refusable(motion.submit, **{**values, "kind": ActionKind(values["kind"])})
    return commands


def _refusable(call: Callable[..., Any], *args: Any, **values: Any) -> None:
    """What was refused in the run is refused again, and changes nothing again."""
    try:
        call(*args, **values)
    except (InputError, WorldError):
        return


def _configured(values: dict[str, Any]) -> ServoMotion:
    space: dict[str, Any] = {
        name: tuple(v) if isinstance(v, (list, tuple)) else v for name, v in values["workspace"].items()
    }
    return ServoMotion(
        arm_model(values["arm"]), values["tcp"], Limits(**values["limits"]), Workspace(**space), values["period_s"]
    )


_AHEAD = 0.05  # s: cameras stamp frames with clocks of their own
_LONGEST = 1000  # actions
_FORGET = 0.05  # of the difference to a shorter gap, per chunk
_SPREAD = 4.0  # periods that one action is spread over at most
