"""What tests of the UR driver need: an operator with a finger, a policy without a brain, and eyes on the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from vlasteer.kinematics import Vector
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import EpisodeKey, Phase

KEY = EpisodeKey(0, 0, 0)
MOTIONS = ("moveJ", "moveL", "servoJ", "servoL", "servoC", "speedJ", "speedL", "path")


class Operator:
    """Holds a robot's button as `vlasteer.controller` does: at 20 Hz, from a thread of its own."""

    def __init__(self, world: URWorld) -> None:
        self._world, self._held, self._gone = world, False, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Operator:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vanish()

    def press(self) -> None:
        """Let go, then hold."""
        self._world.permit(False)
        self._held = True
        self._world.permit(True)

    def release(self) -> None:
        """Let go."""
        self._held = False
        self._world.permit(False)

    def vanish(self) -> None:
        """Say nothing any more, held or not: a page that was closed."""
        self._gone.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._gone.wait(0.05):
            self._world.permit(self._held)


class Policy:
    """Submits chunks of ten equal actions, five times a second, from a thread of its own."""

    def __init__(self, world: URWorld, action: list[float] | None = None, late_s: float = 0.0) -> None:
        self.action = np.array(action or [0.1, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
        self._world, self._late_s, self._gone = world, late_s, threading.Event()
        self.refused: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Policy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()

    def die(self) -> None:
        """Submit nothing any more."""
        self._gone.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._gone.wait(0.2):
            try:
                self._world.submit(np.tile(self.action, (10, 1)), time.monotonic() - self._late_s)
            except Exception as error:  # noqa: BLE001 (for the test to look at)
                self.refused.append(error)


def wait_for(condition: Callable[[], Any], timeout_s: float = 8.0, what: str = "it") -> Any:
    """Until something is so; AssertionError when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)
    return found


def run(world: URWorld, operator: Operator) -> None:
    """Press, and wait until the arm runs. Pressed again where a busy machine let the robot's state grow old."""
    deadline = time.monotonic() + 8.0
    while world.status.phase is not Phase.RUNNING:
        assert time.monotonic() < deadline, world.status
        operator.press()
        end = time.monotonic() + 1.0
        while world.status.phase is not Phase.RUNNING and time.monotonic() < end:
            time.sleep(0.01)


def rest(world: URWorld, operator: Operator) -> None:
    """Let go, and wait until the program on the controller has ended."""

    def resting() -> bool:
        status = world.status
        return status.phase is Phase.HOLDING and "let go" in status.reason

    operator.release()
    wait_for(resting)


def at_rest(twin: TwinProcess, timeout_s: float = 3.0) -> dict[str, Any]:
    """Until the arm stands; the state then."""
    return twin.wait_for(lambda state: np.abs(state["qd"]).max() < 1e-4, timeout_s)


def commands(twin: TwinProcess, since: int = 0) -> list[dict[str, Any]]:
    """Everything written to the command register, oldest first."""
    return [entry for entry in twin.log(since, "input") if "name" in entry]


def motions(twin: TwinProcess, since: int = 0) -> list[dict[str, Any]]:
    """Those that move the arm."""
    return [entry for entry in commands(twin, since) if entry["name"] in MOTIONS]


def targets(entries: list[dict[str, Any]]) -> Vector:
    """[n, 6] joint targets of servoJ commands."""
    return np.array([[entry["values"][f"input_double_register_{i}"] for i in range(6)] for entry in entries])


def travel(twin: TwinProcess, since_clock: float) -> float:
    """How far (m) the flange went since a clock of the controller, along its way."""
    from vlasteer.kinematics import UR5E

    rows = twin.trace(since_clock)[::5]
    points = np.array([UR5E.forward(q)[:3, 3] for q in rows[:, 7:]])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()) if len(points) > 1 else 0.0
