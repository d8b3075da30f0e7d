"""The UR5e as MJCF, made from the Denavit-Hartenberg table alone.

The table, limits, masses and kinematics are `vlasteer.kinematics.UR5E`; the model's forward kinematics agrees with them
to rounding. Needs numpy only and knows nothing of tables or tasks: a twin of the controller can use it alone. With all
joints at zero the arm lies along -x of its base; `flange` has z out of the flange.
"""

from __future__ import annotations

import math

import numpy as np

from vlasteer.kinematics import JOINTS, UR5E

JOINT_TORQUE = (150.0, 150.0, 150.0, 28.0, 28.0, 28.0)
"""Largest torque of each joint, N m (data sheet)."""
SERVO_STIFFNESS = (20000.0, 20000.0, 12000.0, 2500.0, 2500.0, 1200.0)
SERVO_DAMPING = (550.0, 550.0, 300.0, 45.0, 45.0, 20.0)
"""A servo per joint, MuJoCo's position actuator: torque = stiffness * (target - angle) - damping * speed (N m, rad)."""
ROTOR_INERTIA = (0.3, 0.3, 0.2, 0.1, 0.1, 0.05)
"""kg m^2 seen at the joint; a guess, and it steadies the light wrist."""

Point = tuple[float, float, float]

# What the links look like, in the frame of the joint that moves them (z is the joint's axis): shape, from, to, radius,
# material. Silver tubes between dark joints with blue caps, after photographs; nothing collides with them.
_LOOKS: tuple[tuple[tuple[str, Point, Point, float, str], ...], ...] = (
    (
        ("cylinder", (0, 0, 0.085), (0, 0, 0.1), 0.062, "arm_joint"),
        ("capsule", (0, 0.03, 0.1625), (0, -0.055, 0.1625), 0.06, "arm_tube"),
    ),
    (
        ("cylinder", (0, 0, 0.075), (0, 0, 0.195), 0.06, "arm_joint"),
        ("cylinder", (0, 0, 0.195), (0, 0, 0.205), 0.056, "arm_cap"),
        ("capsule", (-0.03, 0, 0.138), (-0.395, 0, 0.138), 0.05, "arm_tube"),
        ("cylinder", (-0.425, 0, 0.085), (-0.425, 0, 0.19), 0.053, "arm_joint"),
        ("cylinder", (-0.425, 0, 0.19), (-0.425, 0, 0.2), 0.049, "arm_cap"),
    ),
    (
        ("cylinder", (0, 0, -0.045), (0, 0, 0.083), 0.05, "arm_tube"),
        ("cylinder", (0, 0, -0.055), (0, 0, -0.045), 0.046, "arm_cap"),
        ("capsule", (-0.03, 0, 0.01), (-0.37, 0, 0.01), 0.038, "arm_tube"),
        ("cylinder", (-0.3922, 0, -0.04), (-0.3922, 0, 0.05), 0.041, "arm_joint"),
        ("cylinder", (-0.3922, 0, -0.05), (-0.3922, 0, -0.04), 0.038, "arm_cap"),
    ),
    (
        ("cylinder", (0, 0, 0.052), (0, 0, 0.1), 0.039, "arm_tube"),
        ("cylinder", (0, -0.05, 0.1333), (0, 0.04, 0.1333), 0.041, "arm_joint"),
        ("cylinder", (0, 0.04, 0.1333), (0, 0.05, 0.1333), 0.038, "arm_cap"),
    ),
    (
        ("cylinder", (0, 0, 0.052), (0, 0, 0.065), 0.039, "arm_tube"),
        ("cylinder", (0, 0.05, 0.0997), (0, -0.045, 0.0997), 0.041, "arm_joint"),
        ("cylinder", (0, 0.06, 0.0997), (0, 0.05, 0.0997), 0.038, "arm_cap"),
    ),
    (("cylinder", (0, 0, 0.046), (0, 0, 0.0996), 0.036, "arm_tube"),),
)


def mjcf_assets() -> str:
    """Materials of the arm, for MJCF's <asset>."""
    return (
        '<material name="arm_tube" rgba=".80 .82 .85 1" specular=".4" shininess=".5"/>'
        '<material name="arm_joint" rgba=".45 .48 .52 1" specular=".3" shininess=".4"/>'
        '<material name="arm_cap" rgba=".24 .52 .78 1" specular=".3" shininess=".4"/>'
    )


def mjcf_body(tool: str = "") -> str:
    """The arm as MJCF for <worldbody>: bodies `base`, one per joint, and `flange` with `tool` (MJCF too) inside.

    Wants `<compiler angle="radian" autolimits="true"/>` and the materials of `mjcf_assets`. All geoms are in group 1.
    The arm's weight is compensated, as a UR controller does it.
    """
    inner = f'<body name="flange" pos="0 0 {UR5E.d[5]}" gravcomp="1">{tool}</body>'
    for joint in reversed(range(6)):
        place = ""
        if joint > 0:
            half = UR5E.alpha[joint - 1] / 2
            place = f'pos="{UR5E.a[joint - 1]} 0 {UR5E.d[joint - 1]}" quat="{math.cos(half)!r} {math.sin(half)!r} 0 0"'
        inner = f'<body name="{JOINTS[joint]}" {place} gravcomp="1">{_link(joint)}{inner}</body>'
    return f'<body name="base">{_geom("cylinder", (0, 0, 0), (0, 0, 0.085), 0.075, "arm_joint")}{inner}</body>'


def mjcf_actuators(strength: float = 1.0) -> str:
    """One position servo per joint, in order, for MJCF's <actuator>; their controls are joint angles in rad.

    `strength` multiplies the joints' largest torques.
    """
    return "".join(
        f'<position name="{name}" joint="{name}" kp="{SERVO_STIFFNESS[i]}" kv="{SERVO_DAMPING[i]}" '
        f'forcerange="{-strength * JOINT_TORQUE[i]} {strength * JOINT_TORQUE[i]}"/>'
        for i, name in enumerate(JOINTS)
    )


def _link(joint: int) -> str:
    # The centre of mass is given behind the joint's row of the table; the body's frame lies before it.
    com = UR5E.link_transform(joint, 0.0) @ np.array([*UR5E.link_com[joint], 1.0])
    centre = f"{com[0]} {com[1]} {com[2]}"
    mass, length = UR5E.link_mass[joint], abs(UR5E.a[joint]) or 0.12
    along, across = mass * 0.05**2 / 2, mass * (length**2 / 12 + 0.05**2 / 4)  # a solid cylinder of radius 5 cm
    inertia = (along, across, across) if UR5E.a[joint] else (across, across, along)
    limit = UR5E.joint_limit[joint]
    return (
        f'<inertial pos="{centre}" mass="{mass}" diaginertia="{inertia[0]} {inertia[1]} {inertia[2]}"/>'
        f'<joint name="{JOINTS[joint]}" axis="0 0 1" range="{-limit} {limit}" armature="{ROTOR_INERTIA[joint]}"/>'
        + "".join(_geom(*look) for look in _LOOKS[joint])
    )


def _geom(shape: str, start: Point, end: Point, radius: float, material: str) -> str:
    ends = " ".join(f"{v}" for v in (*start, *end))
    return (
        f'<geom type="{shape}" fromto="{ends}" size="{radius}" material="{material}" '
        f'group="1" contype="0" conaffinity="0" mass="0"/>'
    )
