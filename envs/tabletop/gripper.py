"""A parallel-jaw gripper for the arm's flange, as MJCF: 80 mm of stroke, flat pads, both fingers driven as one.

Its frame is the flange's: z out of the flange, the fingers slide along y. A generic model in the size of the grippers
that are sold for the UR5e, not a copy of one.
"""

from __future__ import annotations

TCP_OFFSET = 0.145
"""From the flange to the pinch point between the pads, along z, m."""
FINGER_TRAVEL = 0.04
"""Each finger's way from closed (0) to open, m."""
FINGER_SPEED = 0.2
"""Of each finger, m/s."""
FINGERS = ("finger_left", "finger_right")

_TIP = TCP_OFFSET + 0.01  # the pads reach 1 cm beyond the pinch point
_GRIP_FORCE = 30.0  # N


def mjcf_assets() -> str:
    """Materials of the gripper, for MJCF's <asset>."""
    return (
        '<material name="gripper_body" rgba=".23 .24 .27 1" specular=".3" shininess=".4"/>'
        '<material name="gripper_finger" rgba=".35 .37 .40 1" specular=".3" shininess=".4"/>'
    )


def mjcf_tool(extra: str = "") -> str:
    """The gripper as MJCF for the inside of the flange's body, with the site `tcp`; `extra` goes in beside it."""
    return (
        '<inertial pos="0 0 .05" mass="0.9" diaginertia=".0015 .0015 .0008"/>'
        '<geom type="cylinder" fromto="0 0 0 0 0 .035" size=".034" material="gripper_body" group="1" '
        'contype="0" conaffinity="0" mass="0"/>'
        '<geom name="palm" type="box" pos="0 0 .062" size=".024 .055 .027" material="gripper_body" class="hand" '
        f'mass="0"/><site name="tcp" pos="0 0 {TCP_OFFSET}" size=".004" rgba="0 0 0 0"/>{extra}'
        + _finger(0, 1)
        + _finger(1, -1)
    )


def mjcf_contact() -> str:
    """For MJCF's <contact>: the fingers may touch each other without being a collision."""
    return f'<exclude body1="{FINGERS[0]}" body2="{FINGERS[1]}"/>'


def mjcf_equality() -> str:
    """For MJCF's <equality>: the fingers move as one."""
    return f'<joint joint1="{FINGERS[1]}" joint2="{FINGERS[0]}" solref=".006 1" solimp=".98 .999 .001"/>'


def mjcf_actuators() -> str:
    """One actuator; its control is the wanted half opening, 0 to `FINGER_TRAVEL` (m)."""
    return (
        f'<position name="gripper" joint="{FINGERS[0]}" kp="2000" kv="50" '
        f'forcerange="-{_GRIP_FORCE} {_GRIP_FORCE}" ctrlrange="0 {FINGER_TRAVEL}"/>'
    )


def _finger(index: int, side: int) -> str:
    # The inner face of the pad is the body's y = 0 plane, so the joint's position is half the opening.
    length, thick = (_TIP - 0.089) / 2, 0.006
    name, centre = FINGERS[index], f"0 {side * thick} {length}"
    return (
        f'<body name="{name}" pos="0 0 .089" gravcomp="1">'
        f'<inertial pos="{centre}" mass="0.08" diaginertia="4e-5 4e-5 1e-5"/>'
        f'<joint name="{name}" type="slide" axis="0 {side} 0" range="0 {FINGER_TRAVEL}" armature="0.05" damping="5"/>'
        f'<geom name="{name}" type="box" pos="{centre}" size=".011 {thick} {length}" material="gripper_finger" '
        'class="pad" mass="0"/></body>'
    )
