"""Geometry of six-axis arms: the Denavit-Hartenberg table, what follows from it, and poses as six numbers.

The one place where link lengths, masses and joint limits of the UR5 and the UR5e are written down. Numbers are
Universal Robots' own: support article "DH parameters for calculations of kinematics and dynamics" and the data sheets.
A real arm deviates from them by its factory calibration (a few mm at the tool).

Conventions: each row of the table is Rz(angle) Tz(d) Tx(a) Rx(alpha). `base` is UR's base frame (z up; at zero angles
the arm lies along -x); `flange` is the frame behind row six, z out of the flange. A *pose* is (x, y, z, rx, ry, rz):
metres and a rotation vector (axis times angle, rad), as UR's controllers and their interfaces use it. Angles in rad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlasteer.errors import UnknownNameError

Vector = NDArray[np.float64]

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")


@dataclass(frozen=True)
class ArmModel:
    """One arm.

    Attributes:
        name: "ur5", "ur5e".
        d, a, alpha: the Denavit-Hartenberg table, one entry per joint; m, m, rad.
        joint_limit: largest absolute angle of each joint, rad.
        joint_speed: largest absolute speed of each joint, rad/s.
        link_mass: mass of the link behind each joint, kg.
        link_com: centre of mass of that link in its own frame (behind its row of the table), m.
    """

    name: str
    d: tuple[float, ...]
    a: tuple[float, ...]
    alpha: tuple[float, ...]
    joint_limit: tuple[float, ...]
    joint_speed: tuple[float, ...]
    link_mass: tuple[float, ...]
    link_com: tuple[tuple[float, float, float], ...]

    @cached_property
    def _twists(self) -> tuple[tuple[float, float], ...]:
        # Every twist is a multiple of 90 degrees; rounding keeps cos(pi/2) from being 6e-17.
        return tuple((float(round(math.cos(t), 12)), float(round(math.sin(t), 12))) for t in self.alpha)

    def link_transform(self, joint: int, angle: float) -> Vector:
        """Homogeneous [4, 4] transform of one row of the table."""
        c, s = math.cos(angle), math.sin(angle)
        ca, sa = self._twists[joint]
        a = self.a[joint]
        return np.array(
            [
                [c, -s * ca, s * sa, a * c],
                [s, c * ca, -c * sa, a * s],
                [0.0, sa, ca, self.d[joint]],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )

    def frames(self, angles: ArrayLike) -> Vector:
        """Pose in the base frame of the base and of the frame behind each row, [7, 4, 4]; the last is the flange."""
        found = np.empty((7, 4, 4))
        found[0] = np.eye(4)
        for joint, angle in enumerate(np.asarray(angles, np.float64)):
            found[joint + 1] = found[joint] @ self.link_transform(joint, float(angle))
        return found

    def forward(self, angles: ArrayLike) -> Vector:
        """Pose of the flange in the base frame, homogeneous [4, 4]."""
        return self.frames(angles)[6]

    def jacobian(self, angles: ArrayLike, tool: Vector | None = None) -> Vector:
        """Geometric Jacobian [6, 6] in the base frame: (linear, angular) velocity of the tool per joint velocity.

        `tool` is the [4, 4] pose of the tool in the flange's frame; None is the flange itself.
        """
        frames = self.frames(angles)
        tip = frames[6, :3, 3] if tool is None else (frames[6] @ tool)[:3, 3]
        axes, origins = frames[:6, :3, 2], frames[:6, :3, 3]
        return np.vstack([np.cross(axes, tip - origins).T, axes.T])

    def inverse_all(self, flange: Vector, wrist_3: float = 0.0) -> list[list[float]]:
        """Every set of joint angles, in (-2 pi, 2 pi), that puts the flange at the [4, 4] pose: up to eight.

        Closed form for arms of UR's build (three parallel axes, then two right angles): shoulder left or right, wrist
        up or down, elbow up or down. Where wrist_2 is 0 or pi its neighbours are parallel, wrist_3 is free, and
        `wrist_3` is taken for it.
        """
        (r00, r01, r02, px), (r10, r11, r12, py), (r20, r21, r22, pz) = flange[:3].tolist()
        d1, d4, d5, d6 = self.d[0], self.d[3], self.d[4], self.d[5]
        a2, a3 = self.a[1], self.a[2]
        x5, y5, z5 = px - d6 * r02, py - d6 * r12, pz - d6 * r22  # origin of the wrist_2 frame
        radius = math.hypot(x5, y5)
        solutions: list[list[float]] = []
        if radius < d4 - _REACH:
            return solutions
        for shoulder in (1.0, -1.0):
            q1 = math.atan2(y5, x5) + shoulder * math.acos(min(1.0, d4 / radius)) + math.pi / 2
            s1, c1 = math.sin(q1), math.cos(q1)
            # The flange's axes along the parallel axes: (s5 c6, -s5 s6, c5).
            along_x, along_y, along_z = s1 * r00 - c1 * r10, s1 * r01 - c1 * r11, s1 * r02 - c1 * r12
            sine = math.hypot(along_x, along_y)
            singular = sine < _SINGULAR
            for wrist in (1.0, -1.0):
                q5 = math.atan2(wrist * sine, along_z)
                q6 = wrist_3 if singular else math.atan2(-wrist * along_y, wrist * along_x)
                s5, c5, s6, c6 = math.sin(q5), math.cos(q5), math.sin(q6), math.cos(q6)
                # x axis of the wrist_1 frame, in the plane of the upper arm and forearm.
                ux, uy, uz = c5 * c6, -c5 * s6, -s5
                plane_x = c1 * (r00 * ux + r01 * uy + r02 * uz) + s1 * (r10 * ux + r11 * uy + r12 * uz)
                total = math.atan2(r20 * ux + r21 * uy + r22 * uz, plane_x)  # q2 + q3 + q4
                x = c1 * x5 + s1 * y5 - d5 * math.sin(total)
                y = z5 - d1 + d5 * math.cos(total)
                cosine = (x * x + y * y - a2 * a2 - a3 * a3) / (2 * a2 * a3)
                if abs(cosine) > 1 + _REACH:
                    continue
                bend = math.acos(max(-1.0, min(1.0, cosine)))
                for q3 in (bend, -bend):
                    q2 = math.atan2(y, x) - math.atan2(a3 * math.sin(q3), a2 + a3 * math.cos(q3))
                    solutions.append([_wrapped(q) for q in (q1, q2, q3, total - q2 - q3, q5, q6)])
        return solutions

    def inverse(self, flange: Vector, near: ArrayLike) -> Vector | None:
        """Joint angles [6] for a [4, 4] pose of the flange, the closest to `near` by the largest difference of a joint.

        Whole turns are added to come close to `near` as far as the joints' ranges allow. None where the pose is out of
        reach or not finite.
        """
        wanted = np.asarray(near, np.float64).tolist()
        best, best_distance = None, math.inf
        if not (np.all(np.isfinite(flange)) and all(map(math.isfinite, wanted))):
            return None
        for solution in self.inverse_all(flange, wanted[5]):
            for joint, limit in enumerate(self.joint_limit):
                turned = solution[joint] + 2 * math.pi * round((wanted[joint] - solution[joint]) / (2 * math.pi))
                if abs(turned) <= limit:
                    solution[joint] = turned
            distance = max(abs(q - w) for q, w in zip(solution, wanted, strict=True))
            if distance < best_distance:
                best, best_distance = solution, distance
        return None if best is None else np.array(best)

    def mass_matrix(self, angles: ArrayLike) -> Vector:
        """Inertia [6, 6] in joint space, kg m^2, each link's mass at its centre; rotors and link inertias left out."""
        frames = self.frames(angles)
        axes, origins = frames[:6, :3, 2], frames[:6, :3, 3]
        inertia = np.zeros((6, 6))
        for link, (mass, com) in enumerate(zip(self.link_mass, self.link_com, strict=True)):
            centre = frames[link + 1, :3, :3] @ np.array(com) + frames[link + 1, :3, 3]
            moves = np.zeros((3, 6))
            moves[:, : link + 1] = np.cross(axes[: link + 1], centre - origins[: link + 1]).T
            inertia += mass * moves.T @ moves
        return inertia


def _wrapped(angle: float) -> float:
    """The same angle in (-pi, pi]."""
    return math.pi - (math.pi - angle) % (2 * math.pi)


_SINGULAR = 1e-10  # sine of wrist_2
_REACH = 1e-9  # how far beyond the stretched elbow (cosine) or inside the shoulder (m) is still rounding

_QUARTER = math.pi / 2
_UR_TWIST = (_QUARTER, 0.0, 0.0, _QUARTER, -_QUARTER, 0.0)
_UR_COM = (
    (0.0, -0.02561, 0.00193),
    (0.2125, 0.0, 0.11336),
    (0.15, 0.0, 0.0265),
    (0.0, -0.0018, 0.01634),
    (0.0, 0.0018, 0.01634),
    (0.0, 0.0, -0.001159),
)

UR5 = ArmModel(
    name="ur5",
    d=(0.089159, 0.0, 0.0, 0.10915, 0.09465, 0.0823),
    a=(0.0, -0.425, -0.39225, 0.0, 0.0, 0.0),
    alpha=_UR_TWIST,
    joint_limit=(2 * math.pi,) * 6,
    joint_speed=(math.pi,) * 6,
    link_mass=(3.7, 8.393, 2.33, 1.219, 1.219, 0.1879),
    link_com=_UR_COM,
)
"""CB3 series."""

UR5E = ArmModel(
    name="ur5e",
    d=(0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996),
    a=(0.0, -0.425, -0.3922, 0.0, 0.0, 0.0),
    alpha=_UR_TWIST,
    joint_limit=(2 * math.pi,) * 6,
    joint_speed=(math.pi,) * 6,
    link_mass=(3.761, 8.058, 2.846, 1.37, 1.3, 0.365),
    link_com=_UR_COM,
)
"""e-Series."""

ARMS = {model.name: model for model in (UR5, UR5E)}


def arm_model(name: str) -> ArmModel:
    """The arm of that name.

    Raises:
        UnknownNameError: there is none; the message lists those that there are.
    """
    if name not in ARMS:
        raise UnknownNameError.among("arm", name, ARMS)
    return ARMS[name]


def rotation_matrix(vector: Sequence[float] | Vector) -> Vector:
    """Rotation vector (axis times angle, rad) -> [3, 3] rotation matrix (Rodrigues' formula)."""
    x, y, z = (float(v) for v in vector)
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.array([[1.0, -z, y], [z, 1.0, -x], [-y, x, 1.0]])
    x, y, z = x / angle, y / angle, z / angle
    c, s = math.cos(angle), math.sin(angle)
    t = 1.0 - c
    return np.array(
        [
            [t * x * x + c, t * x * y - s * z, t * x * z + s * y],
            [t * x * y + s * z, t * y * y + c, t * y * z - s * x],
            [t * x * z - s * y, t * y * z + s * x, t * z * z + c],
        ]
    )


def rotation_vector(matrix: Vector) -> Vector:
    """[3, 3] rotation matrix -> rotation vector [3] with an angle in [0, pi]; by the quaternion (Shepperd's method)."""
    m00, m01, m02 = (float(v) for v in matrix[0, :3])
    m10, m11, m12 = (float(v) for v in matrix[1, :3])
    m20, m21, m22 = (float(v) for v in matrix[2, :3])
    # The largest of the four squared components is computed from the diagonal: no cancellation anywhere.
    squares = (1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22)
    largest = squares.index(max(squares))
    root = math.sqrt(squares[largest])
    h = 0.5 / root
    if largest == 0:
        w, x, y, z = root / 2, (m21 - m12) * h, (m02 - m20) * h, (m10 - m01) * h
    elif largest == 1:
        w, x, y, z = (m21 - m12) * h, root / 2, (m01 + m10) * h, (m02 + m20) * h
    elif largest == 2:
        w, x, y, z = (m02 - m20) * h, (m01 + m10) * h, root / 2, (m12 + m21) * h
    else:
        w, x, y, z = (m10 - m01) * h, (m02 + m20) * h, (m12 + m21) * h, root / 2
    if w < 0:
        w, x, y, z = -w, -x, -y, -z
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 if sine < 1e-12 else 2.0 * math.atan2(sine, w) / sine
    return np.array([x * scale, y * scale, z * scale])


def pose_matrix(pose: Sequence[float] | Vector) -> Vector:
    """Pose (x, y, z, rx, ry, rz) -> homogeneous [4, 4]."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(pose[3:6])
    matrix[:3, 3] = pose[:3]
    return matrix


def matrix_pose(matrix: Vector) -> Vector:
    """Homogeneous [4, 4] -> pose [6] (x, y, z, rx, ry, rz)."""
    return np.concatenate([matrix[:3, 3], rotation_vector(matrix)])


def inverse_transform(matrix: Vector) -> Vector:
    """Inverse of a rigid [4, 4] transform."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse
