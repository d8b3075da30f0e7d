"""What the servo process says about itself in every period."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from vlasteer.types import Phase

Six = tuple[float, ...]
_NOWHERE = (float("nan"),) * 6


@dataclass(frozen=True)
class ServoStatus:
    """One period.

    Attributes:
        time_s: monotonic clock.
        phase: of the motion.
        safety: the controller's safety state in words.
        reason: why the arm does not move, or what limits it; "" when nothing is to be said.
        state_age_s: age of the robot state.
        rate_hz: measured rate of the loop.
        late: periods that the loop has missed.
        latency_s: from the newest executed chunk's observation to its first motion; NaN before.
        q: measured joint angles, rad.
        tcp_pose: measured pose of the tool, base frame.
        tcp_speed_m_s: measured.
        force_n: at the tool.
        commanded: joint angles that were last commanded, rad; NaN before the first.
        moved: count of periods in which the arm was commanded to move.
        chunk: number of the submitted chunk that is executed; -1 before the first.
        index: which of its actions; while one of the chunk before is finished, still that one.
        stretch: how much longer than its period that action takes, by the limits.
        limited: flags of `reasons.Reason`.
        safety_bits: as the controller numbers them.
        watchdog: whether the controller's watchdog is armed.
        refused_press: number of the press that is told and does not count any more; 0 for none.
        realtime: what the system permitted (`realtime.become_realtime`).
    """

    time_s: float = 0.0
    phase: Phase = Phase.DISARMED
    safety: str = "unknown"
    reason: str = "not started"
    state_age_s: float = float("inf")
    rate_hz: float = 0.0
    late: int = 0
    latency_s: float = float("nan")
    q: Six = _NOWHERE
    tcp_pose: Six = _NOWHERE
    tcp_speed_m_s: float = float("nan")
    force_n: float = float("nan")
    commanded: Six = _NOWHERE
    moved: int = 0
    chunk: int = -1
    index: int = 0
    stretch: float = 1.0
    limited: int = 0
    safety_bits: int = 0
    watchdog: bool = False
    refused_press: int = 0
    realtime: tuple[str, ...] = ()

    def message(self) -> dict[str, Any]:
        """For the link."""
        return {"is": "status", **asdict(self)}

    @classmethod
    def of(cls, message: dict[str, Any]) -> ServoStatus:
        """From the link."""
        values = {field.name: message[field.name] for field in fields(cls)}
        for name in ("q", "tcp_pose", "commanded", "realtime"):
            values[name] = tuple(values[name])
        return cls(**{**values, "phase": Phase(values["phase"])})
