"""Programs that are commanded through RTDE registers: how they read their arguments and give their results."""

from __future__ import annotations

import numpy as np

from vlasteer.kinematics import Vector
from vlasteer.robots.twin.io_state import REGISTERS
from vlasteer.robots.twin.program import Program, ScriptError
from vlasteer.robots.twin.robot import Robot


class RegisterProgram(Program):
    """A program with its registers.

    Attributes:
        offset: first register that it uses: 0, or 24 for the upper range.
    """

    def __init__(self, name: str, robot: Robot, offset: int) -> None:
        self.offset = offset
        super().__init__(name, robot)

    def int_in(self, index: int) -> int:
        """Input integer register, shifted by the offset."""
        return self.robot.io.int_in[self._shifted(index)]

    def floats_in(self, index: int, count: int = 6) -> Vector:
        """`count` input floating-point registers from `index` on."""
        last = self._shifted(index + count - 1)
        return np.array(self.robot.io.float_in[last - count + 1 : last + 1])

    def set_int(self, index: int, value: int) -> None:
        """Output integer register."""
        self.robot.io.int_out[self._shifted(index)] = value

    def set_floats(self, index: int, values: Vector) -> None:
        """Output floating-point registers from `index` on."""
        for i, value in enumerate(values):
            self.robot.io.float_out[self._shifted(index + i)] = float(value)

    def _shifted(self, index: int) -> int:
        if index + self.offset >= REGISTERS:
            raise ScriptError(f"there is no register {index + self.offset}")
        return index + self.offset

    def inverse(self, pose: Vector, near: Vector | None = None) -> Vector:
        """`get_inverse_kin`.

        Raises:
            ScriptError: there is none.
        """
        q = self.robot.arm.inverse(pose, self.robot.engine.q if near is None else near)
        if q is None:
            raise ScriptError("inverse kinematics found no solution")
        return q
