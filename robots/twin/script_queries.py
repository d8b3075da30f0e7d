"""Commands of `ur_rtde`'s control script that ask or set something and take no time: kinematics, limits, payload, tool.

A version gate is the script's own: on older software the client strips the line, so that the command is acknowledged
and does nothing. Approximations: the mass matrix is that of point masses and the torques of Coriolis and centrifugal
forces follow from it; joint torques read zero; the safety limits are the joints' ranges and the arm's reach, no planes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlasteer.kinematics import Vector, matrix_pose, pose_matrix
from vlasteer.robots.twin.rtde_variables import Since
from vlasteer.robots.twin.script_registers import RegisterProgram

_STEP = 1e-5  # rad, of numerical derivatives
_UPPER_REGISTERS = 36  # where the last two columns of a matrix go, after 0-23


@dataclass(frozen=True)
class Query:
    """One command: the client's name for it, what it does, and the software that has it."""

    name: str
    answer: Callable[[RegisterProgram], None]
    cb3: Since = (0, 0)
    e_series: Since = (0, 0)


def _zero_force(s: RegisterProgram) -> None:
    s.robot.force_offset = s.robot.wrench()


def _payload(s: RegisterProgram) -> None:
    mass, *cog = s.floats_in(0, 4)
    s.robot.payload = float(mass)
    if any(cog) or s.robot.version.cb3:
        s.robot.payload_cog = tuple(float(v) for v in cog)


def _target_payload(s: RegisterProgram) -> None:
    _payload(s)
    s.robot.payload_inertia = tuple(float(v) for v in s.floats_in(4))


def _freedrive(on: bool) -> Callable[[RegisterProgram], None]:
    return lambda s: s.robot.set_freedrive(on)


def _tool_contact(s: RegisterProgram) -> None:
    s.set_int(1, s.robot.contact_steps(s.floats_in(0)))


def _joint_history(s: RegisterProgram) -> None:
    s.set_floats(0, s.robot.history(s.int_in(1)))


def _set_tcp(s: RegisterProgram) -> None:
    s.robot.set_tcp(s.floats_in(0))


def _inverse_near(s: RegisterProgram) -> None:
    s.set_floats(0, s.inverse(pose_matrix(s.floats_in(0)), s.floats_in(6)))


def _inverse(s: RegisterProgram) -> None:
    s.set_floats(0, s.inverse(pose_matrix(s.floats_in(0))))


def _has_inverse_near(s: RegisterProgram) -> None:
    s.set_int(1, int(s.robot.arm.inverse(pose_matrix(s.floats_in(0)), s.floats_in(6)) is not None))


def _has_inverse(s: RegisterProgram) -> None:
    s.set_int(1, int(s.robot.arm.inverse(pose_matrix(s.floats_in(0)), s.robot.engine.q) is not None))


def _pose_within(s: RegisterProgram) -> None:
    q = s.robot.arm.inverse(pose_matrix(s.floats_in(0)), s.robot.engine.q)
    s.set_int(1, int(q is not None and s.robot.arm.within_limits(q)))


def _joints_within(s: RegisterProgram) -> None:
    s.set_int(1, int(s.robot.arm.within_limits(s.floats_in(0))))


def _pose_trans(s: RegisterProgram) -> None:
    s.set_floats(0, matrix_pose(pose_matrix(s.floats_in(0)) @ pose_matrix(s.floats_in(6))))


def _forward(s: RegisterProgram) -> None:
    s.set_floats(0, s.robot.arm.pose(s.robot.plant.q))


def _forward_of(s: RegisterProgram) -> None:
    s.set_floats(0, matrix_pose(s.robot.arm.flange(s.floats_in(0)) @ pose_matrix(s.floats_in(6))))


def _flange_pose(s: RegisterProgram) -> None:
    s.set_floats(0, matrix_pose(s.robot.arm.flange(s.robot.plant.q)))


def _steady(s: RegisterProgram) -> None:
    s.set_int(1, int(not s.robot.engine.moving))


def _set_matrix(s: RegisterProgram, matrix: Vector) -> None:
    columns = matrix.T.ravel()
    s.set_floats(0, columns[:24])
    s.set_floats(_UPPER_REGISTERS, columns[24:])


def _jacobian(s: RegisterProgram) -> None:
    _set_matrix(s, s.robot.arm.jacobian(s.robot.plant.q))


def _jacobian_rate(s: RegisterProgram) -> None:
    q, qd, arm = s.robot.plant.q, s.robot.plant.qd, s.robot.arm
    _set_matrix(s, (arm.jacobian(q + qd * _STEP) - arm.jacobian(q - qd * _STEP)) / (2 * _STEP))


def _mass_matrix(s: RegisterProgram) -> None:
    _set_matrix(s, s.robot.arm.model.mass_matrix(s.robot.plant.q))


def _coriolis(s: RegisterProgram) -> None:
    # Lagrange: C qd = dM/dt qd - 1/2 d(qd' M qd)/dq.
    q, qd, model = s.robot.plant.q, s.robot.plant.qd, s.robot.arm.model
    rate = (model.mass_matrix(q + qd * _STEP) - model.mass_matrix(q - qd * _STEP)) / (2 * _STEP)
    slope = np.zeros(6)
    for joint in range(6):
        step = np.zeros(6)
        step[joint] = _STEP
        difference = model.mass_matrix(q + step) - model.mass_matrix(q - step)
        slope[joint] = float(qd @ difference @ qd) / (2 * _STEP)
    s.set_floats(0, rate @ qd - slope / 2)


def _nothing(s: RegisterProgram) -> None:
    return None


QUERIES: dict[int, Query] = {
    8: Query("zeroFtSensor", _zero_force),
    17: Query("setPayload", _payload),
    18: Query("teachMode", _freedrive(True)),
    19: Query("endTeachMode", _freedrive(False)),
    20: Query("forceModeSetDamping", _nothing),
    21: Query("forceModeSetGainScaling", _nothing),
    25: Query("toolContact", _tool_contact, None, (5, 4)),
    26: Query("getStepTime", lambda s: s.set_floats(0, np.array([s.robot.dt])), None, (5, 4)),
    27: Query("getActualJointPositionsHistory", _joint_history, None, (5, 4)),
    28: Query("getTargetWaypoint", lambda s: s.set_floats(0, s.robot.arm.pose(s.robot.engine.q)), None, (5, 3)),
    29: Query("setTcp", _set_tcp),
    30: Query("getInverseKinematics", _inverse_near),
    36: Query("isPoseWithinSafetyLimits", _pose_within),
    37: Query("isJointsWithinSafetyLimits", _joints_within),
    38: Query("getJointTorques", lambda s: s.set_floats(0, np.zeros(6))),
    39: Query("poseTrans", _pose_trans),
    40: Query("getTCPOffset", lambda s: s.set_floats(0, s.robot.arm.tcp)),
    43: Query("getForwardKinematics", _forward),
    44: Query("getForwardKinematics", _forward_of),
    46: Query("getInverseKinematics", _inverse),
    47: Query("isSteady", _steady),
    52: Query("freedriveMode", _freedrive(True), None, (5, 10)),
    53: Query("endFreedriveMode", _freedrive(False), None, (5, 10)),
    54: Query("getFreedriveStatus", lambda s: s.set_int(1, int(s.robot.freedrive)), None, (5, 10)),
    56: Query("ftRtdeInputEnable", _nothing, None, (5, 9)),
    57: Query("enableExternalFtSensor", _nothing),
    58: Query("getActualToolFlangePose", _flange_pose),
    59: Query("setGravity", _nothing),
    60: Query("getInverseKinematicsHasSolution", _has_inverse, (3, 15), (5, 10)),
    61: Query("getInverseKinematicsHasSolution", _has_inverse_near, (3, 15), (5, 10)),
    65: Query("setTargetPayload", _target_payload, None, (5, 10)),
    67: Query("getMassMatrix", _mass_matrix, None, (5, 23)),
    68: Query("getCoriolisAndCentrifugalTorques", _coriolis, None, (5, 23)),
    69: Query("getTargetJointAccelerations", lambda s: s.set_floats(0, s.robot.engine.qdd), None, (5, 23)),
    70: Query("getJacobian", _jacobian, None, (5, 23)),
    71: Query("getJacobianTimeDerivative", _jacobian_rate, None, (5, 23)),
}
"""Command number -> what it does."""
