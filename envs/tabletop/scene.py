"""The tabletop scene as MJCF: arm and gripper, table, three bins, three objects, lights, two cameras.

World frame: x away from the robot, y to the robot's left, z up; the table top is z = 0 and the arm's base stands at the
origin, turned so that its zero configuration would lie along +x. One scene serves all tasks; where things are and what
colour they have belongs to the episode (see `layout`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlasteer.envs.tabletop import arm, gripper

CAMERAS = ("image", "image2")
"""The agent's view and the wrist's."""

BINS = ("bin_0", "bin_1", "bin_2")
OBJECTS = ("object_0", "object_1", "object_2")
"""Two cubes and a cylinder. Only cubes are ever named in an instruction."""

HALF_BLOCK = 0.02
"""Half the edge of a cube, half the height and the radius of the cylinder, m."""
BIN_INNER = 0.056
"""Half the inner edge of a bin, m."""
BIN_HEIGHT = 0.045
"""Height of a bin's rim over the table, m."""

AGENT_EYE, AGENT_TARGET, AGENT_FOVY = (1.36, -0.60, 0.86), (0.46, 0.01, 0.12), 36.5
"""The agent's camera: where it is and what it looks at (m), and its vertical angle (degrees)."""
KEY_LIGHT = (-0.06, -0.10, -1.0)
"""Direction of the main light, which casts the shadows: almost straight down, so that they tell where the hand is."""
SHADOW_RGB = (0.52, 0.47, 0.42)
"""Colour of the table in the shadow."""

ARM_STRENGTH = 6.0
"""Times a UR5e's torque. Actions change the speed from step to step by up to 1 m/s; the arm of this world follows
within a control period, so that what is asked for is what is done. A real one must be given a ramp."""

TIMESTEP_S = 0.005
"""Of the physics; ten to a control step at 20 Hz."""

LARGEST_PICTURE = 640
"""Edge in pixels; the off-screen buffer is twice that, for supersampling."""

_WALL = 0.005  # half the thickness of a bin's wall

# Group 0 is the room, 1 the arm and hand, 2 the bins and objects; 1 and 2 cast shadows.
# Who touches whom, as bits: the static world 1, objects 2, the hand 4. The arm's links touch nothing.
_DEFAULTS = """
<default class="static"><geom contype="1" conaffinity="6" friction=".5 .005 .0001"/>
 <default class="bin"><geom group="2"/></default></default>
<default class="object"><geom contype="2" conaffinity="7" group="2" friction=".5 .005 .0001" condim="4"
 solref=".01 1"/></default>
<default class="lamp"><light pos="0 0 2" directional="true" castshadow="false"/></default>
<default class="hand"><geom contype="4" conaffinity="3" group="1"/></default>
<default class="pad"><geom contype="4" conaffinity="3" group="1" friction="1.6 .02 .0002" condim="4" priority="1"
 solref=".01 1" solimp=".95 .99 .001"/></default>
"""


def mjcf(slices: int = 14) -> str:
    """The whole scene; round things are drawn with so many sides."""
    bins = "".join(_bin(name) for name in BINS)
    objects = "".join(_object(name, "cylinder" if name == OBJECTS[-1] else "box") for name in OBJECTS)
    key = " ".join(str(v) for v in KEY_LIGHT)
    wrist_camera = '<camera name="image2" pos="-.085 0 .06" xyaxes="0 1 0 .95 0 -.31" fovy="75"/>'
    return f"""
<mujoco model="ur5e_tabletop">
<compiler angle="radian" autolimits="true"/>
<option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
<statistic center=".45 0 .15" extent=".9"/>
<visual>
 <quality shadowsize="0" offsamples="0" numslices="{slices}" numstacks="{slices // 3}" numquads="1"/>
 <global offwidth="{2 * LARGEST_PICTURE}" offheight="{2 * LARGEST_PICTURE}"/>
 <headlight ambient=".44 .44 .46" diffuse="0 0 0" specular="0 0 0"/>
 <map znear=".02" zfar="12"/>
</visual>
<asset>
 <material name="floor" rgba=".60 .62 .65 1" specular="0"/>
 <material name="table" rgba=".80 .74 .66 1" specular=".1" shininess=".1"/>
 {arm.mjcf_assets()}{gripper.mjcf_assets()}
</asset>
<default>{_DEFAULTS}</default>
<worldbody>
 <light name="key" dir="{key}" class="lamp" diffuse=".42 .41 .39" specular=".2 .2 .2"/>
 <light name="front" dir="-1 .8 -.8" class="lamp" diffuse=".22 .23 .25" specular="0 0 0"/>
 <light name="back" dir="1 -.3 -.6" class="lamp" diffuse=".16 .16 .17" specular="0 0 0"/>
 <camera name="image" {_look_at(AGENT_EYE, AGENT_TARGET)} fovy="{AGENT_FOVY}"/>
 <geom name="table" type="box" size=".55 .55 .02" pos=".33 0 -.02" material="table" class="static"/>
 <geom type="plane" size="12 12 1" pos="0 0 -.75" material="floor" class="static"/>
 <body quat="0 0 0 1">{arm.mjcf_body(gripper.mjcf_tool(wrist_camera))}</body>
 {bins}{objects}
</worldbody>
<contact>{gripper.mjcf_contact()}</contact>
<equality>{gripper.mjcf_equality()}</equality>
<actuator>{arm.mjcf_actuators(ARM_STRENGTH)}{gripper.mjcf_actuators()}</actuator>
</mujoco>"""


def _look_at(eye: Sequence[float], target: Sequence[float]) -> str:
    """Position and axes of a level camera, as MJCF attributes."""
    back = np.subtract(eye, target) / np.linalg.norm(np.subtract(eye, target))
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    axes = (*right, *np.cross(back, right))
    return f'pos="{eye[0]} {eye[1]} {eye[2]}" xyaxes="{" ".join(f"{v:.6f}" for v in axes)}"'


def _bin(name: str) -> str:
    # A mocap body: it stands where the episode puts it, and nothing moves it.
    outer, inner, mid = BIN_INNER + 2 * _WALL, BIN_INNER, BIN_INNER + _WALL
    z, tall = BIN_HEIGHT / 2, BIN_HEIGHT / 2
    boxes = (
        ((0, 0, 0.002), (inner, inner, 0.002)),
        ((mid, 0, z), (_WALL, outer, tall)),
        ((-mid, 0, z), (_WALL, outer, tall)),
        ((0, mid, z), (inner, _WALL, tall)),
        ((0, -mid, z), (inner, _WALL, tall)),
    )
    geoms = "".join(
        f'<geom type="box" pos="{p[0]} {p[1]} {p[2]}" size="{s[0]} {s[1]} {s[2]}" class="bin"/>' for p, s in boxes
    )
    return f'<body name="{name}" mocap="true">{geoms}</body>'


def _object(name: str, shape: str) -> str:
    h = HALF_BLOCK
    size = f"{h} {h} {h}" if shape == "box" else f"{h} {h}"
    return (
        f'<body name="{name}" pos="0 0 {h}"><freejoint name="{name}"/>'
        f'<geom name="{name}" type="{shape}" size="{size}" mass=".06" class="object"/></body>'
    )
