"""What a controller measures and works out in one control period, each thing at most once and only if somebody asks."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from vlasteer.kinematics import Vector, matrix_pose, rotation_matrix
from vlasteer.robots.twin.robot import Robot
from vlasteer.robots.twin.states import JointMode, RobotMode

_GRAVITY = np.array([0.0, 0.0, 9.81])
_JOINT_MODES = {
    RobotMode.RUNNING: JointMode.RUNNING,
    RobotMode.BACKDRIVE: JointMode.BACKDRIVE,
    RobotMode.IDLE: JointMode.IDLE,
    RobotMode.POWER_ON: JointMode.BOOTING,
}


class Readings:
    """Values of one moment; the controller makes a new one every tick.

    Poses are [6] (m and rotation vector) in the base frame, speeds [6] m/s and rad/s, wrenches [6] N and N m.
    """

    def __init__(self, robot: Robot) -> None:
        self.robot = robot

    @cached_property
    def tcp_pose(self) -> Vector:
        """Measured pose of the TCP, with the calibration error of the hook `tcp_error` added."""
        pose = matrix_pose(self.robot.arm.forward(self.robot.plant.q))
        pose[:3] += self.robot.tcp_error
        return pose

    @cached_property
    def target_tcp_pose(self) -> Vector:
        """Pose of the TCP that the joint setpoints stand for."""
        return self.tcp_pose if self._on_target else matrix_pose(self.robot.arm.forward(self.robot.engine.q))

    @cached_property
    def tcp_speed(self) -> Vector:
        """Measured velocity of the TCP."""
        return self._speed(self.robot.plant.q, self.robot.plant.qd)

    @cached_property
    def target_tcp_speed(self) -> Vector:
        """Velocity of the TCP that the setpoints stand for."""
        return self.tcp_speed if self._on_target else self._speed(self.robot.engine.q, self.robot.engine.qd)

    @cached_property
    def tcp_force(self) -> Vector:
        """Wrench of the surroundings on the TCP, less what `zero_ftsensor` took off."""
        return self.robot.wrench() - self.robot.force_offset

    @cached_property
    def tcp_force_scalar(self) -> float:
        """Its force's magnitude, N."""
        return float(np.linalg.norm(self.tcp_force[:3]))

    @cached_property
    def flange_wrench(self) -> Vector:
        """The same wrench as the sensor in the flange sees it: in the flange's frame, not zeroed."""
        turn = self.robot.arm.flange(self.robot.plant.q)[:3, :3].T
        wrench = self.robot.wrench()
        return np.concatenate([turn @ wrench[:3], turn @ wrench[3:]])

    @cached_property
    def tool_acceleration(self) -> Vector:
        """Accelerometer in the tool flange [3], m/s^2; gravity only."""
        return rotation_matrix(self.tcp_pose[3:]).T @ _GRAVITY

    @cached_property
    def elbow_position(self) -> Vector:
        """Origin of the elbow joint [3], m."""
        return self.robot.arm.model.frames(self.robot.plant.q)[2, :3, 3]

    @cached_property
    def elbow_velocity(self) -> Vector:
        """Its velocity [3], m/s: the first two joints move it."""
        frames, qd = self.robot.arm.model.frames(self.robot.plant.q), self.robot.plant.qd
        return sum(
            (np.cross(frames[i, :3, 2], self.elbow_position - frames[i, :3, 3]) * qd[i] for i in (0, 1)), np.zeros(3)
        )

    @property
    def joint_mode(self) -> int:
        """Mode of every joint: they all go together."""
        return _JOINT_MODES.get(self.robot.safety.robot_mode, JointMode.POWER_OFF)

    @property
    def analog_io_types(self) -> int:
        """Bits: inputs 0 and 1, outputs 0 and 1; set for voltage."""
        voltage = self.robot.io.analog_out_voltage
        return 0b11 | voltage[0] << 2 | voltage[1] << 3

    @cached_property
    def _on_target(self) -> bool:
        # The kinematic plant hands back the setpoint itself.
        return self.robot.plant.q is self.robot.engine.q and not np.any(self.robot.tcp_error)

    def _speed(self, q: Vector, qd: Vector) -> Vector:
        return self.robot.arm.jacobian(q) @ qd if np.any(qd) else np.zeros(6)
