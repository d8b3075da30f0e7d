"""What a UR arm looks like, from its Denavit-Hartenberg table: tubes between joints, as triangles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.kinematics import ArmModel

TUBE, JOINT, CAP, TOOL = (205, 210, 217), (92, 99, 110), (56, 132, 200), (66, 72, 82)
"""Colours, RGB."""
_SIDES = 28

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One mesh of a link.

    Attributes:
        link: 0 is the base, 1 to 6 move with that joint, 7 is the tool on the flange.
        vertices: float32 [n, 3], m, in the link's frame: that of the joint, its z the axis; the flange's for the tool.
        faces: uint32 [m, 3].
        color: RGB.
    """

    link: int
    vertices: NDArray[np.float32]
    faces: NDArray[np.uint32]
    color: tuple[int, int, int]


def arm_parts(arm: ArmModel) -> list[Part]:
    """The arm without its tool. The offsets of tubes along the joints are the UR5's; the table does not tell them."""
    d1, a2, a3, d4, d5, d6 = arm.d[0], arm.a[1], arm.a[2], arm.d[3], arm.d[4], arm.d[5]
    upper, fore = 0.138, 0.01  # of the tubes of upper arm and forearm along their joints' axes
    return [
        _tube(0, (0, 0, 0), (0, 0, d1 - 0.0775), 0.075, JOINT),
        _tube(1, (0, 0, d1 - 0.0775), (0, 0, d1 - 0.0625), 0.062, JOINT),
        _tube(1, (0, 0.03, d1), (0, -0.055, d1), 0.06, TUBE, round_ends=True),
        _tube(2, (0, 0, 0.075), (0, 0, 0.195), 0.06, JOINT),
        _tube(2, (0, 0, 0.195), (0, 0, 0.205), 0.056, CAP),
        _tube(2, (-0.03, 0, upper), (a2 + 0.03, 0, upper), 0.05, TUBE, round_ends=True),
        _tube(2, (a2, 0, 0.085), (a2, 0, 0.19), 0.053, JOINT),
        _tube(2, (a2, 0, 0.19), (a2, 0, 0.2), 0.049, CAP),
        _tube(3, (0, 0, -0.045), (0, 0, 0.083), 0.05, TUBE),
        _tube(3, (0, 0, -0.055), (0, 0, -0.045), 0.046, CAP),
        _tube(3, (-0.03, 0, fore), (a3 + 0.02, 0, fore), 0.038, TUBE, round_ends=True),
        _tube(3, (a3, 0, -0.04), (a3, 0, 0.05), 0.041, JOINT),
        _tube(3, (a3, 0, -0.05), (a3, 0, -0.04), 0.038, CAP),
        _tube(4, (0, 0, 0.05), (0, 0, d4 - 0.033), 0.039, TUBE),
        _tube(4, (0, -0.05, d4), (0, 0.04, d4), 0.041, JOINT),
        _tube(4, (0, 0.04, d4), (0, 0.05, d4), 0.038, CAP),
        _tube(5, (0, 0, 0.052), (0, 0, 0.065), 0.039, TUBE),
        _tube(5, (0, 0.05, d5), (0, -0.045, d5), 0.041, JOINT),
        _tube(5, (0, 0.06, d5), (0, 0.05, d5), 0.038, CAP),
        _tube(6, (0, 0, d6 - 0.054), (0, 0, d6), 0.036, TUBE),
    ]


def hand_parts() -> tuple[Part, Part, Part]:
    """Palm and two fingers of a parallel gripper, pads 0.145 m before the flange; the fingers at y = 0."""
    palm = _tube(7, (0, 0, 0), (0, 0, 0.075), 0.038, TOOL)
    return palm, _box(7, (0, 0.006, 0.112), (0.011, 0.006, 0.042)), _box(7, (0, -0.006, 0.112), (0.011, 0.006, 0.042))


def joint_frames(arm: ArmModel, joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses [8, 4, 4] in the base frame of the links of `arm_parts` and of the tool."""
    behind = arm.frames(joints)
    frames = np.empty((8, 4, 4))
    frames[0] = np.eye(4)
    for i, angle in enumerate(joints):
        c, s = math.cos(angle), math.sin(angle)
        frames[i + 1] = behind[i] @ np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    frames[7] = behind[6]
    return frames


def _tube(
    link: int, start: Point, end: Point, radius: float, color: tuple[int, int, int], *, round_ends: bool = False
) -> Part:
    """A cylinder, or with round ends a capsule: rings of vertices along its axis."""
    a, b = np.array(start, float), np.array(end, float)
    axis = (b - a) / np.linalg.norm(b - a)
    side = np.cross(axis, (1, 0, 0) if abs(axis[0]) < 0.9 else (0, 1, 0))
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    if round_ends:
        bends = np.linspace(0, np.pi / 2, 7)
        rings = [(a - axis * radius * math.cos(t), radius * math.sin(t)) for t in bends]
        rings += [(b + axis * radius * math.sin(t), radius * math.cos(t)) for t in bends]
    else:  # rings doubled where the surface has an edge, so that its light has one too
        rings = [(a, 0.0), (a, radius), (a, radius), (b, radius), (b, radius), (b, 0.0)]
    turn = np.linspace(0, 2 * np.pi, _SIDES, endpoint=False)
    around = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other
    vertices = np.concatenate([centre + r * around for centre, r in rings])
    faces = []
    for ring in range(len(rings) - 1):
        if not round_ends and ring % 2:
            continue
        for i in range(_SIDES):
            j = (i + 1) % _SIDES
            low, high = ring * _SIDES, (ring + 1) * _SIDES
            faces += [(low + i, low + j, high + j), (low + i, high + j, high + i)]
    return Part(link, vertices.astype(np.float32), np.array(faces, np.uint32), color)


def _box(link: int, centre: Point, half: Point) -> Part:
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    vertices = np.concatenate([corners[list(side)] for side in sides]) * half + centre
    faces = [face for i in range(0, 24, 4) for face in ((i, i + 1, i + 2), (i, i + 2, i + 3))]
    return Part(link, vertices.astype(np.float32), np.array(faces, np.uint32), TOOL)
