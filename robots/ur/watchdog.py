"""Who has to be alive for the arm to move: operator, policy, robot state. Pure; the clock is an argument.

Targets go out only while `Heartbeat.allowed`, but those that slow the arm down. They are the heartbeat of the
controller's own watchdog, armed when they flow, which ends the program when they stop, whatever this machine does.
"""

from __future__ import annotations

from dataclasses import dataclass

STATE_LOST_S = 0.5
"""From here on the connection counts as lost. `ur_rtde` begins to reconnect by itself at 2.5 s; be gone by then."""
BRAKE_S = 1.5
"""Longest time that targets still go out after anything went stale: those that slow the arm down."""
LATE_S = 0.3
"""So long the loop waits, without sending anything, for a late robot state while the arm stands."""
WATCHDOG_HZ = 5.0
"""Of the controller: the program ends when no command came for 0.2 s. Twice as often trips on an ordinary desktop."""


class Deadman:
    """The operator's hold-to-run: off at the start, and after it went stale only a new press counts.

    A press is new behind a release that was heard, or by its number. One that is held when the first word is heard is
    from before the start and does not count.

    Args:
        fresh_s: oldest word that counts (`Limits.permit_age`).
    """

    def __init__(self, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._held_s = float("-inf")
        self._held = False
        self._latched = True  # a hold from before the start does not count either
        self._press: int | None = None  # in the newest word; 0 for a release

    @property
    def refused_press(self) -> int:
        """The press that the newest word holds and that does not count; 0 for none, or for presses without numbers."""
        return (self._press or 0) if self._latched else 0

    def hear(self, held: bool, time_s: float, now: float, press: int = 0) -> None:
        """The operator's word, when it was said, and the number of the press (0: not counted); a hold that arrives
        late renews nothing."""
        fresh = abs(now - time_s) <= self._fresh_s
        self.granted(time_s)  # a gap between two words is noticed even if nobody looked meanwhile
        new = held and press > 0 and self._press is not None and press != self._press
        self._press = press if held else 0
        if not held:
            self._held = False
        if not held or new:
            self._latched = False
        if held and fresh and not self._latched:
            self._held, self._held_s = True, time_s

    def revoke(self) -> None:
        """Whatever is held now does not count any more."""
        self._held, self._latched = False, True

    def granted(self, now: float) -> bool:
        """Whether the operator permits motion now."""
        if self._held and now - self._held_s > self._fresh_s:
            self.revoke()
        return self._held


@dataclass(frozen=True)
class Heartbeat:
    """Whether the arm may be kept moving.

    Attributes:
        state_fresh: the robot state is no older than `Limits.state_age`.
        permitted: the operator holds.
        policy_fresh: there is a chunk that has not expired, or the arm stands or slows down to stand.
    """

    state_fresh: bool
    permitted: bool
    policy_fresh: bool

    @property
    def allowed(self) -> bool:
        """Whether all three are fresh."""
        return self.state_fresh and self.permitted and self.policy_fresh

    @property
    def missing(self) -> str:
        """What is not, in words; "" when all are."""
        if not self.state_fresh:
            return "the robot's state is late"
        if not self.permitted:
            return "the operator has let go"
        return "" if self.policy_fresh else "the policy is late"
