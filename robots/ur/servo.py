"""The servo loop: in every period read the arm, decide, send one target, say how things are.

Order of a period: messages of the driving process; the robot's state; is the connection lost (leave the process)? is
something wrong (halt, latched)? does the operator hold (engage)? Then one tick of `motion`, whose result alone goes to
the wire. Targets go out only while the loop is *engaged*: from the operator's press to standing still after the
release. Then the program on the controller ends; with the next press it is uploaded, and its watchdog armed, anew.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

import numpy as np

from vlasteer.errors import VlasteerError, WorldError
from vlasteer.robots.ur.client import PLAYING, RobotState
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.connection import Connection
from vlasteer.robots.ur.link import Link, Message, refusal
from vlasteer.robots.ur.motion import Log, ServoMotion
from vlasteer.robots.ur.preflight import require
from vlasteer.robots.ur.realtime import Pace, RealTime, end_if_hung
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.safety_filter import Filtered
from vlasteer.robots.ur.status import ServoStatus
from vlasteer.robots.ur.watchdog import BRAKE_S, LATE_S, STATE_LOST_S, WATCHDOG_HZ, Deadman, Heartbeat
from vlasteer.types import ActionKind, Phase

LEFT = 3
"""Exit status of a process that left because its connection was lost."""
_HUNG_S = 1.5
_CONNECTING_S = 15.0
_ENDING_S = 4.0
_ARM_AFTER = 3  # targets, so that they flow when the watchdog begins to wait for them
_ARM_TRIES = 10
_STATUS_HZ = 125.0


class Left(Exception):  # noqa: N818 (the end of a process, not an error)
    """The process is to end now; `code` is its exit status."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class _Chunk:
    """The newest chunk that `motion` took: the driving process's number of it, and when its observation was taken."""

    number: int = -1
    observed_s: float = -math.inf


class ServoLoop:
    """One arm, from opening to the end of the process.

    Args:
        config: the robot.
        link: to the driving process.
        dry_run: no control connection is made.
        motion: trajectory and filter.
        log: receives what was commanded and seen (see `journal`).
    """

    def __init__(
        self,
        config: RobotConfig,
        link: Link,
        motion: ServoMotion,
        *,
        dry_run: bool,
        log: Log = lambda entry: None,
    ) -> None:
        self._config, self._link, self._motion = config, link, motion
        self._dry_run, self._log = dry_run, log
        self._limits = config.limits
        self._period_s = 1.0 / config.rtde_rate_hz
        self._deadman = Deadman(config.limits.permit_age)
        self._connection: Connection
        self._phase, self._reason = Phase.DISARMED, ""
        self._ending = ""  # why the process is to end
        self._engaged = self._armed = self._unfinished = False
        self._targets, self._arm_at = 0, _ARM_AFTER  # sent since the loop was engaged; with which the watchdog is armed
        self._stale_since: float | None = None
        self._chunk = _Chunk()
        self._status, self._realtime = ServoStatus(), RealTime()
        self._reported_s = 0.0

    # --- opening and the loop -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and compare the controller with the robot file. Moves nothing.

        Raises:
            WorldError: refused; the table has been sent before.
        """
        end_if_hung(_CONNECTING_S)
        self._connection = Connection(self._config, dry_run=self._dry_run)
        rows = self._connection.rows
        self._link.send({"is": "preflight", "rows": [asdict(row) for row in rows]})
        try:
            require(rows)
        except WorldError:
            self._connection.close()
            raise
        self._realtime.adopt()
        self._phase, self._reason = Phase.HOLDING, "waiting for the operator"

    def run(self) -> NoReturn:
        """The loop. Leaves by `Left`."""
        pace = Pace(self._period_s)
        while True:
            end_if_hung(_HUNG_S)
            try:
                self.period(pace.wait(), pace)
            except RuntimeError as error:  # of the client's, whose connection broke under a call
                self._leave(f"the connection broke ({error})")

    def cut_off(self) -> NoReturn:
        """For the handler of SIGIO: the controller has ended its connections. Leaves the process here and now."""
        self._say_stopped("the controller closed the connection")
        os._exit(LEFT)

    def end(self, reason: str) -> None:
        """Decelerate, end the program, then leave."""
        self._ending = self._ending or reason

    def period(self, now: float, pace: Pace) -> None:
        """One period."""
        for message in self._link.receive():
            self._obey(message, now)
        state = self._connection.receive.read()
        if self._link.closed:
            self.end("the driving process has gone")
        if lost := self.lost(state):
            self._leave(lost)
        if self._phase is not Phase.STOPPED and (wrong := self.fault(state)):
            self._halt(wrong, state)
        if self._unfinished and self.fresh(state):  # the watchdog was to end the program, and the state came first
            self._connection.stop(state)
            self._unfinished = False
            state = self._connection.receive.read()
        permitted = self._deadman.granted(now) and not self._ending
        if self._phase is not Phase.STOPPED and permitted and not self._engaged and self.fresh(state):
            if state.at_rest:
                self._engage(state, now)
            else:
                self._reason = "the arm is moving; it begins when it stands"
        elif self._phase is Phase.HOLDING and self._deadman.refused_press and not self._engaged:
            self._reason = "the hold was lost on its way; let go and press again"
        filtered = self._step(state, now, permitted) if self._engaged else None
        self._report(state, filtered, now, pace)
        if self._ending and not self._engaged:
            self._finish()

    # --- what has to be so --------------------------------------------------------------------------------------------

    def fresh(self, state: RobotState) -> bool:
        """Whether the state is new enough to move by; the controller's clock tells."""
        return state.age_s <= self._limits.state_age

    def lost(self, state: RobotState) -> str:
        """Why the connection counts as lost; "" when it does not. `ur_rtde` must not live to reconnect by itself."""
        if not state.connected or self._connection.closed:
            return "the controller closed the connection"
        if state.age_s > STATE_LOST_S:
            return f"no news from the controller for {state.age_s:.1f} s"
        return ""

    def fault(self, state: RobotState) -> str:
        """What forbids motion until a person has looked; "" when nothing does."""
        if not state.may_move:
            return state.safety
        if not self._engaged or self._dry_run:
            return ""
        if state.runtime_state != PLAYING:
            return "the program on the controller has ended: its watchdog, or somebody at the pendant"
        if state.force_n > self._limits.tool_force:
            return f"a force of {state.force_n:.0f} N at the tool (tool_force is {self._limits.tool_force:g} N)"
        return ""

    def heartbeat(self, state: RobotState, now: float, permitted: bool) -> Heartbeat:
        """What a heartbeat depends on."""
        alive = self._motion.progress.idle or now - self._chunk.observed_s <= self._limits.chunk_expiry
        return Heartbeat(self.fresh(state), permitted, alive)

    # --- motion -------------------------------------------------------------------------------------------------------

    def _engage(self, state: RobotState, now: float) -> None:
        """The operator holds: begin where the arm stands, at zero speed."""
        try:
            self._motion.start(state.q)
            self._motion.permit(False, now)
        except WorldError as error:
            self._halt(error.problem, state)
            return
        control = self._connection.control
        if control is not None and state.runtime_state != PLAYING and not control.upload():
            self._halt("the control script did not start", state)
            return
        self._engaged, self._armed, self._targets, self._stale_since = True, False, 0, None
        self._arm_at = _ARM_AFTER
        self._phase, self._reason = Phase.HOLDING, ""
        self._log({"event": "engaged", "time_s": now})

    def _step(self, state: RobotState, now: float, permitted: bool) -> Filtered | None:
        """One target, while everybody is alive or the arm still has to slow down."""
        heartbeat = self.heartbeat(state, now, permitted)
        self._motion.permit(heartbeat.allowed and (self._armed or self._dry_run), now)
        filtered = self._motion.tick(now)
        self._record(filtered, state)
        if heartbeat.allowed:
            self._stale_since = None
        elif self._stale_since is None:
            self._stale_since = now
        stale_s = 0.0 if self._stale_since is None else now - self._stale_since
        standing_still = filtered.held and not heartbeat.allowed
        if (standing_still and (not permitted or stale_s > LATE_S)) or stale_s > BRAKE_S:
            self._disengage(heartbeat, state)
            return None
        self._phase = Phase.HOLDING if filtered.held else Phase.RUNNING
        self._reason = heartbeat.missing or ", ".join(filtered.reasons.names)
        if not standing_still and not self.send(filtered, heartbeat):
            state = self._connection.receive.read()  # it may say by now why
            self._halt(self.fault(state) or "the controller refused a command", state)
            return None
        return filtered

    def send(self, filtered: Filtered, heartbeat: Heartbeat) -> bool:
        """Put a target on the wire, the heartbeat of the controller's watchdog; whether the controller took it."""
        control = self._connection.control
        if control is None:
            return True
        self._realtime.urgent(self._armed and self._targets > self._arm_at)
        taken = control.servo(filtered.q)
        self._targets += 1
        if heartbeat.allowed and not self._armed and self._targets >= self._arm_at:
            self._armed = control.arm_watchdog(WATCHDOG_HZ)
            self._arm_at = self._targets + 1
            if not self._armed and self._targets > _ARM_TRIES:
                return False
        return taken

    def _disengage(self, heartbeat: Heartbeat, state: RobotState) -> None:
        """The arm stands: end the program. With a late state, the watchdog does, for the client might wait for ever."""
        self._engaged = self._armed = False
        self._realtime.urgent(False)
        self._deadman.revoke()
        self._phase, self._reason = Phase.HOLDING, heartbeat.missing
        self._log({"event": "disengaged", "reason": self._reason})
        self._unfinished = not heartbeat.state_fresh
        if heartbeat.state_fresh:
            self._connection.stop(state)

    def _halt(self, reason: str, state: RobotState) -> None:
        """Stop now, and stay so until a person confirms."""
        engaged, self._engaged, self._armed = self._engaged, False, False
        self._realtime.urgent(False)
        self._deadman.revoke()
        self._phase, self._reason = Phase.STOPPED, reason
        self._log({"event": "halted", "reason": reason})
        if engaged and self.fresh(state):
            self._connection.stop(state)
        else:
            self._connection.cut()

    def _recover(self) -> None:
        """A person has confirmed. The arm stays still until the operator lets go and holds again.

        Raises:
            WorldError: it cannot be left from here.
        """
        if self._phase is not Phase.STOPPED:
            return
        self._connection.unlock()
        self._deadman.revoke()
        self._phase, self._reason = Phase.HOLDING, "recovered; waiting for the operator"

    # --- the driving process ------------------------------------------------------------------------------------------

    def _obey(self, message: Message, now: float) -> None:
        kind = message["do"]
        if kind == "permit":
            self._deadman.hear(bool(message["held"]), float(message["time_s"]), now, int(message["press"]))
        elif kind == "submit":
            self._answer(message, lambda: {"dropped": self._submit(message, now)})
        elif kind == "recover":
            self._answer(message, lambda: {"done": self._recover()})
        elif kind == "end":
            self.end(str(message["reason"]))

    def _submit(self, message: Message, now: float) -> int:
        if self._phase is Phase.STOPPED or self._ending:
            raise WorldError(f"the arm has stopped: {self._ending or self._reason}", fix="Look at it, then start again")
        observed, before = float(message["observed_at_s"]), self._motion.progress.chunk
        actions, kind = np.array(message["actions"], np.float64), ActionKind(message["kind"])
        step_s, speed = float(message["step_s"]), float(message["speed"])
        dropped = self._motion.submit(actions, kind, step_s, observed, now, speed)
        if self._motion.progress.chunk != before:
            self._chunk = _Chunk(int(message["chunk"]), observed)
        return dropped

    def _answer(self, message: Message, act: Callable[[], dict[str, Any]]) -> None:
        answer: Message = {"is": "answer", "number": message["number"]}
        try:
            answer |= act()
        except VlasteerError as error:
            answer |= refusal(error)
        self._link.send(answer)

    def _report(self, state: RobotState, filtered: Filtered | None, now: float, pace: Pace) -> None:
        last, progress = self._status, self._motion.progress
        moving = filtered is not None and not filtered.held
        begun = moving and progress.step >= 0
        first = begun and self._chunk.number != last.chunk
        self._status = ServoStatus(
            time_s=now,
            phase=self._phase,
            safety=state.safety,
            reason=self._ending or self._reason,
            state_age_s=state.age_s,
            rate_hz=pace.rate_hz,
            late=pace.late,
            latency_s=now - self._chunk.observed_s if first else last.latency_s,
            q=tuple(state.q.tolist()),
            tcp_pose=tuple(state.tcp_pose.tolist()),
            tcp_speed_m_s=math.dist((0.0,) * 3, state.tcp_speed[:3]),
            force_n=state.force_n,
            commanded=last.commanded if filtered is None else tuple(filtered.q.tolist()),
            moved=last.moved + moving,
            chunk=self._chunk.number if begun else last.chunk,
            index=progress.step if begun else last.index,
            stretch=progress.stretch,
            limited=int(filtered.reasons if filtered is not None else Reason(0)),
            safety_bits=state.safety_bits,
            watchdog=self._armed,
            refused_press=self._deadman.refused_press,
            realtime=self._realtime.means,
        )
        if now - self._reported_s >= 0.9 / _STATUS_HZ or self._phase is not last.phase:
            self._reported_s = now
            self._link.send(self._status.message())

    def _record(self, filtered: Filtered, state: RobotState) -> None:
        self._log(
            {
                "command": filtered.q.tolist(),
                "qd": filtered.qd.tolist(),
                "reasons": int(filtered.reasons),
                "held": filtered.held,
                "state": {
                    "timestamp": state.timestamp,
                    "age_s": state.age_s,
                    "q": state.q.tolist(),
                    "force_n": state.force_n,
                    "safety_bits": state.safety_bits,
                    "runtime_state": state.runtime_state,
                },
            }
        )

    # --- the end ------------------------------------------------------------------------------------------------------

    def _finish(self) -> NoReturn:
        """In order: nothing moves any more."""
        end_if_hung(_ENDING_S)
        self._say_stopped(self._ending)
        self._log({"event": "ended", "reason": self._ending})
        self._connection.close()
        raise Left(0)

    def _leave(self, reason: str) -> NoReturn:
        """At once: after a drop the client needs some 20 ms to reconnect and to upload its script again, unasked.

        The controller's watchdog stops the arm, and so does the driving process, over the dashboard.
        """
        end_if_hung(1.0)
        self._say_stopped(reason)
        self._log({"event": "left", "reason": reason})
        raise Left(LEFT)

    def _say_stopped(self, reason: str) -> None:
        self._link.send(replace(self._status, phase=Phase.STOPPED, reason=reason, watchdog=False).message())
