"""Servo processes with one protection taken out, for tests that show what it is good for.

    URWorld(..., program=mutant("careless_heartbeat"))

The interpreter runs this file in place of `vlasteer.robots.ur`: the same process, one method replaced.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from vlasteer.robots.ur import servo
from vlasteer.robots.ur.__main__ import main
from vlasteer.robots.ur.client import ControlClient, RobotState
from vlasteer.robots.ur.motion import ServoMotion
from vlasteer.robots.ur.watchdog import Heartbeat


def mutant(name: str) -> tuple[str, ...]:
    """The `program` of that mutant."""
    assert name in MUTANTS
    return str(Path(__file__)), name


def careless_heartbeat() -> None:
    """Row 2: heartbeats whoever is alive."""

    def always(self: Any, state: RobotState, now: float, permitted: bool) -> Heartbeat:
        return Heartbeat(True, True, True)

    servo.ServoLoop.heartbeat = always  # pyright: ignore[reportAttributeAccessIssue]


def no_watchdog() -> None:
    """Row 2: the controller's watchdog is not armed."""
    ControlClient.arm_watchdog = lambda self, hz: True  # pyright: ignore[reportAttributeAccessIssue]


def no_checks() -> None:
    """Row 4: results of commands and safety bits are not looked at."""
    servo.ServoLoop.fault = lambda self, state: ""  # pyright: ignore[reportAttributeAccessIssue]
    send = servo.ServoLoop.send

    def careless(self: Any, filtered: Any, heartbeat: Heartbeat) -> bool:
        send(self, filtered, heartbeat)
        return True

    servo.ServoLoop.send = careless  # pyright: ignore[reportAttributeAccessIssue]


def no_expiry() -> None:
    """Row 12: a late chunk is as good as any, and never expires."""
    submit = ServoMotion.submit

    def punctual(self: Any, actions: Any, kind: Any, step_s: float, observed_at_s: float, *rest: float) -> int:
        return submit(self, actions, kind, step_s, rest[0], *rest)

    ServoMotion.submit = punctual  # pyright: ignore[reportAttributeAccessIssue]


def blind() -> None:
    """Row 3 and hazard 1: the process does not notice that its connection is lost."""
    servo.ServoLoop.lost = lambda self, state: ""  # pyright: ignore[reportAttributeAccessIssue]
    servo.ServoLoop.fresh = lambda self, state: True  # pyright: ignore[reportAttributeAccessIssue]


MUTANTS = {function.__name__: function for function in (careless_heartbeat, no_watchdog, no_checks, no_expiry, blind)}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    os._exit(main(int(sys.argv[2])))
