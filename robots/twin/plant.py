"""What the controller drives: an arm and a gripper, physical or merely kinematic.

A `Plant` belongs to the thread that runs the control loop, but for `draw` and `close`: one other thread calls those,
with a snapshot to draw from.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import UnknownNameError
from vlasteer.kinematics import Vector


class Plant(Protocol):
    """The arm and gripper behind a controller.

    Attributes:
        q, qd: joint angles and speeds [6], rad and rad/s.
        opening: of the gripper, 0 closed to 1 open.
        cameras: names of the pictures that `draw` can make.
    """

    q: Vector
    qd: Vector
    opening: float
    cameras: tuple[str, ...]

    def place(self, q: Vector) -> None:
        """Be at these joint angles, at rest."""
        ...

    def arrange(self, seed: int) -> None:
        """Put the things around where the seed draws them; the arm stays where it is."""
        ...

    def grip(self, opening: float, speed: float, force: float) -> None:
        """Drive the gripper to an opening; speed and force are fractions of its largest, 0 to 1."""
        ...

    def step(self, target: Vector, speed: Vector, dt: float) -> None:
        """Let `dt` seconds pass while the joints are servoed to the target [6], which moves at `speed` [6]."""
        ...

    def wrench(self) -> Vector:
        """Force and torque [6] of the surroundings on the TCP, base frame, N and N m."""
        ...

    def snapshot(self) -> Any:
        """What `draw` needs to show this moment; cheap, and independent of what happens next."""
        ...

    def draw(self, camera: str, snapshot: Any) -> NDArray[np.uint8]:
        """Picture of a camera, uint8 [height, width, 3] RGB."""
        ...

    def close(self) -> None:
        """Release what it holds. Idempotent."""
        ...


class KinematicPlant:
    """Joints that are exactly where they were told to be, a gripper that closes on air or on a block.

    Approximation: no dynamics, no contact, no tracking error. For fast tests of everything but physics.
    """

    GRIPPER_SECONDS = (4.0, 0.6)
    """Duration of the full stroke at the lowest and at the highest speed, s (2F-85 data sheet: 20 to 150 mm/s)."""

    def __init__(self, q: Vector | tuple[float, ...]) -> None:
        self.cameras: tuple[str, ...] = ()
        self.opening = 1.0
        self.block: float | None = None
        """Opening at which something between the fingers stops them; None: nothing there."""
        self._wanted, self._speed = 1.0, 1.0
        self.place(np.array(q, np.float64))

    def place(self, q: Vector) -> None:
        self.q, self.qd = q, np.zeros(6)

    def arrange(self, seed: int) -> None:
        return None  # there is nothing around

    def grip(self, opening: float, speed: float, force: float) -> None:
        slow, fast = self.GRIPPER_SECONDS
        self._wanted, self._speed = opening, 1 / slow + (1 / fast - 1 / slow) * speed

    def step(self, target: Vector, speed: Vector, dt: float) -> None:
        self.q, self.qd = target, speed
        gap = self._wanted - self.opening
        if gap:
            moved = self.opening + max(-self._speed * dt, min(self._speed * dt, gap))
            blocked = self.block is not None and moved < self.block <= self.opening
            self.opening = float(self.block) if blocked and self.block is not None else moved

    def wrench(self) -> Vector:
        return np.zeros(6)

    def snapshot(self) -> Any:
        return None

    def draw(self, camera: str, snapshot: Any) -> NDArray[np.uint8]:
        raise UnknownNameError.among("camera of the kinematic twin", camera, self.cameras)

    def close(self) -> None:
        return None
