"""Power, brakes and the safety system of a controller: who may move when, and what it takes to be allowed again.

Approximations: boot and brake release take a fraction of a second instead of several; a protective stop never becomes a
fault by repetition (a real controller counts 50 in 8 hours); the safeguard stop does not resume by itself.
"""

from __future__ import annotations

from vlasteer.robots.twin.states import MAY_MOVE, UNPOWERED, RobotMode, SafetyMode

UNLOCK_AFTER_S = 5.0
"""A protective stop cannot be unlocked sooner, s."""

_TRANSITION_S = 0.2


class SafetySystem:
    """Robot mode and safety mode, and the transitions between them.

    Attributes:
        robot_mode, safety_mode: the states that RTDE reports.
        reason: of the last stop, for people.
    """

    def __init__(self, *, powered: bool) -> None:
        self.robot_mode = RobotMode.RUNNING if powered else RobotMode.POWER_OFF
        self.safety_mode = SafetyMode.NORMAL
        self.reason = ""
        self._protective = False  # stays set under a worse stop
        self._wanted_mode = self.robot_mode
        self._next_step_at = 0.0
        self._stopped_at = 0.0
        self._now = 0.0

    @property
    def may_move(self) -> bool:
        """Whether a program may run and move the arm."""
        return self.safety_mode in MAY_MOVE and self.robot_mode == RobotMode.RUNNING

    @property
    def powered(self) -> bool:
        """Whether the arm has power (brakes on or off)."""
        return self.robot_mode in (RobotMode.POWER_ON, RobotMode.IDLE, RobotMode.BACKDRIVE, RobotMode.RUNNING)

    def tick(self, now: float) -> None:
        """Let time pass: `now` is the controller's clock, s."""
        self._now = now
        if self.robot_mode != self._wanted_mode and now >= self._next_step_at:
            order = (RobotMode.POWER_OFF, RobotMode.POWER_ON, RobotMode.IDLE, RobotMode.RUNNING)
            self.robot_mode = order[min(order.index(self.robot_mode) + 1, order.index(self._wanted_mode))]
            self._next_step_at = now + _TRANSITION_S

    def stop(self, mode: SafetyMode, reason: str) -> None:
        """Enter a safety mode that stops the arm; the worse of two stops stands."""
        self._protective |= mode == SafetyMode.PROTECTIVE_STOP
        if mode.value < self.safety_mode.value:
            return
        if mode != self.safety_mode:
            self._stopped_at, self.reason = self._now, reason
        self.safety_mode = mode
        if mode in UNPOWERED:
            self._set_mode(RobotMode.POWER_OFF)

    def set_reduced(self, reduced: bool) -> None:
        """Switch between normal and reduced mode, where neither is overruled by a stop."""
        if self.safety_mode in MAY_MOVE:
            self.safety_mode = SafetyMode.REDUCED if reduced else SafetyMode.NORMAL

    def unlock(self) -> bool:
        """Leave a protective stop; False when it is too soon. Without one it does nothing and says True."""
        if self.safety_mode != SafetyMode.PROTECTIVE_STOP:
            return True
        if self._now - self._stopped_at < UNLOCK_AFTER_S:
            return False
        self.safety_mode, self._protective = SafetyMode.NORMAL, False
        return True

    def release(self) -> None:
        """Pull the emergency stop button out, or close the safeguard: the mode ends, but power does not come back.

        A protective stop from before still waits to be unlocked.
        """
        if self.safety_mode in (
            SafetyMode.SAFEGUARD_STOP,
            SafetyMode.SYSTEM_EMERGENCY_STOP,
            SafetyMode.ROBOT_EMERGENCY_STOP,
        ):
            self.safety_mode = SafetyMode.PROTECTIVE_STOP if self._protective else SafetyMode.NORMAL

    def restart(self) -> None:
        """Restart the safety system after a violation or fault; the arm is without power afterwards."""
        if self.safety_mode in (SafetyMode.VIOLATION, SafetyMode.FAULT):
            self.safety_mode = SafetyMode.NORMAL

    def power_on(self) -> bool:
        """Power the arm, brakes on; False where a stop forbids it."""
        return self._go(RobotMode.IDLE)

    def release_brakes(self) -> bool:
        """Power the arm if it is not, and release its brakes; False where a stop forbids it."""
        return self._go(RobotMode.RUNNING)

    def power_off(self) -> None:
        """Brakes on, power off."""
        self._set_mode(RobotMode.POWER_OFF)

    def freedrive(self, on: bool) -> None:
        """Enter or leave the mode in which the arm is moved by hand."""
        if self.robot_mode in (RobotMode.RUNNING, RobotMode.BACKDRIVE):
            self._set_mode(RobotMode.BACKDRIVE if on else RobotMode.RUNNING)

    def _go(self, mode: RobotMode) -> bool:
        if self.safety_mode in UNPOWERED:
            return False
        if self.robot_mode.value < mode.value:
            self._wanted_mode, self._next_step_at = mode, self._now + _TRANSITION_S
        return True

    def _set_mode(self, mode: RobotMode) -> None:
        self.robot_mode = self._wanted_mode = mode
