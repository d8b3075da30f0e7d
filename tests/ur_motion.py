"""A small bench for the UR's motion core: an arm, a workspace around where it stands, and ticks with their times."""

from __future__ import annotations

from typing import Any

import numpy as np
from limit_checker import Violation, violations
from numpy.typing import ArrayLike

from vlasteer.kinematics import UR5E, Vector
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.robots.ur.motion import ServoMotion
from vlasteer.robots.ur.safety_filter import Filtered
from vlasteer.types import ActionKind

ARM = UR5E
TCP = (0.0, 0.01, 0.145, 0.0, 0.1, 0.0)
LIMITS = Limits()
HOME = np.array([0.0, -1.74, 2.04, -1.87, -1.57, 0.0])
WORKSPACE = Workspace((-0.62, -0.35, 0.0), (-0.25, 0.15, 0.45), (-0.4, -0.3, 0.2), (0.2, 0.3, 0.7), table_z=0.0)
DT = 0.008


class Bench:
    """A `ServoMotion` that stands at home with the operator holding, and everything that it commanded."""

    def __init__(self, limits: Limits = LIMITS, workspace: Workspace = WORKSPACE, dt: float = DT) -> None:
        self.log: list[dict[str, Any]] = []
        self.motion = ServoMotion(ARM, TCP, limits, workspace, dt, log=self.log.append)
        self.limits, self.workspace, self.dt = limits, workspace, dt
        self.now, self.held = 0.0, True
        self.filtered: list[Filtered] = []
        self.motion.start(HOME)
        self.press()

    def press(self) -> None:
        """Let go and hold again."""
        self.motion.permit(False, self.now)
        self.motion.permit(True, self.now)
        self.held = True

    def tick(self, count: int = 1) -> Filtered:
        """Let time pass, with the operator as he is."""
        for _ in range(count):
            self.now += self.dt
            if self.held:
                self.motion.permit(True, self.now)
            self.filtered.append(self.motion.tick(self.now))
        return self.filtered[-1]

    def deltas(self, actions: ArrayLike, age: float = 0.0, speed: float = 1.0) -> int:
        """Submit end-effector deltas [n, 6] at 20 Hz."""
        return self.motion.submit(actions, ActionKind.EE_DELTA, 0.05, self.now - age, self.now, speed)

    def joints(self, actions: ArrayLike, age: float = 0.0, speed: float = 1.0) -> int:
        """Submit joint targets [n, 6] at 20 Hz."""
        return self.motion.submit(actions, ActionKind.JOINT_TARGET, 0.05, self.now - age, self.now, speed)

    @property
    def commands(self) -> Vector:
        """[n, 6] all commands."""
        return np.array([filtered.q for filtered in self.filtered])

    @property
    def tools(self) -> Vector:
        """[n, 3] where the tool was commanded."""
        return np.array([self.motion.filter.points.pose(q)[:3, 3] for q in self.commands])

    def violations(self) -> list[Violation]:
        """What the commands break."""
        return violations(self.commands, self.dt, ARM, TCP, self.limits, self.workspace, before=HOME)


def move(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> list[float]:
    """One delta: a translation (m) and a rotation about the vertical (rad)."""
    return [x, y, z, 0.0, 0.0, turn]


def turned(joint: int, by: float) -> Vector:
    """Home, with one joint turned (rad)."""
    return HOME + by * np.eye(6)[joint]
