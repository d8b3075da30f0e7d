"""What has to be known about a robot before it may be moved: address, arm, tool, space, limits, cameras, gripper.

One YAML file per robot; docs/ur5e.yaml is a commented example. Every value that concerns safety is checked against the
controller before anything moves, and a value that is not given has the strict default, not the convenient one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlasteer.errors import ConfigError
from vlasteer.kinematics import ArmModel, Vector, arm_model, rotation_matrix
from vlasteer.robots.cameras.config import CameraConfig
from vlasteer.robots.ur.fields import build, read_mapping
from vlasteer.robots.ur.gripper import GripperConfig
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, Gripper

Pose = tuple[float, float, float, float, float, float]
Point = tuple[float, float, float]

JOINT_NAMES = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "gripper")
LIBERO_SCALE: Pose = (0.05, 0.05, 0.05, 0.5, 0.5, 0.5)
"""What 1.0 is in the data of LIBERO and the tabletop: m and rad."""
TABLETOP_TCP: Pose = (0.0, 0.0, 0.145, 0.0, 0.0, 0.0)
"""The pinch point of the tabletop's gripper in the flange's frame."""


@dataclass(frozen=True, kw_only=True)
class ActionConfig:
    """What the numbers mean that the robot is told to do. A policy of another convention is converted or refused.

    Attributes:
        kind: ee_delta (translation and rotation vector of the tool, relative to where it was commanded) or
            joint_target (absolute angles). An end-effector's deltas are in the axes of `frame`.
        rate_hz: actions per second, 1 to 50.
        scale: SI value of 1.0 in each dimension but the gripper's: m and rad; six numbers.
        gripper: how the last number commands the gripper.
        frame: rotation vector (rad) that turns the axes of the policy's deltas into the robot's base frame.
            A half turn about z, [0, 0, 3.141592653589793], is common: UR's base looks the other way than data sets do.
    """

    kind: Literal["ee_delta", "joint_target"] = "ee_delta"
    rate_hz: float = 20.0
    scale: Pose | None = None
    gripper: Gripper = Gripper.MINUS_OPEN_PLUS_CLOSED
    frame: Point = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not 1 <= self.rate_hz <= 50:
            raise ConfigError(f"rate_hz {self.rate_hz}", expected="1 to 50 actions per second")
        if self.scale is None and self.kind == "ee_delta":
            raise ConfigError(
                "ee_delta actions without scale", expected="the m and rad of 1.0, as [0.05, 0.05, 0.05, 0.5, 0.5, 0.5]"
            )
        if self.scale is not None and not all(0 < value <= 2 * math.pi for value in self.scale):
            raise ConfigError(f"scale {list(self.scale)}", expected="positive numbers in m and rad")
        if any(self.frame) and self.kind == "joint_target":
            raise ConfigError("a frame for joint_target actions", fix="Leave it out: joints have none")
        if math.sqrt(sum(value * value for value in self.frame)) > math.pi + 1e-6:
            raise ConfigError(f"frame {list(self.frame)}", expected="a rotation vector no longer than pi (rad)")

    @property
    def spec(self) -> ActionSpec:
        """The same as worlds and policies put it."""
        names = EE_NAMES if self.kind == "ee_delta" else JOINT_NAMES
        return ActionSpec(ActionKind(self.kind), self.gripper, self.scale or (1.0,) * 6, self.rate_hz, names)

    @property
    def rotation(self) -> Vector:
        """[3, 3] from the policy's axes to the base frame's."""
        return rotation_matrix(self.frame)


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """One robot.

    Attributes:
        host: address of the controller.
        model: ur5e, or ur5 (CB3 series).
        workspace: where the tool and the elbow may be, in the base frame. There is no default: measure your cell.
        tcp: pose of the tool in the flange's frame: m, and a rotation vector in rad. What the installation on the
            pendant says; another one is refused.
        payload_kg: mass of the tool and what it carries, as on the pendant.
        payload_cog: its centre of gravity in the flange's frame, m.
        limits: of speed, acceleration, force and time; the defaults are strict.
        action: what the robot's actions mean.
        cameras: the policy's name of a camera -> device.
        gripper: a Robotiq gripper, or null for none.
        home: joint angles (rad) near which an episode has to begin, or null for anywhere in the workspace. Nothing
            moves there by itself.
        rtde_rate_hz: of the servo loop: 125, or 500 (e-Series only).
        pose_tolerance_m: how far the measured TCP may be from what the nominal geometry gives, m.
        pose_tolerance_rad: the same of its orientation, rad.
    """

    host: str
    model: Literal["ur5", "ur5e"]
    workspace: Workspace
    tcp: Pose
    payload_kg: float
    payload_cog: Point = (0.0, 0.0, 0.0)
    limits: Limits = field(default_factory=Limits)
    action: ActionConfig = field(default_factory=lambda: ActionConfig(scale=LIBERO_SCALE))
    cameras: Mapping[str, CameraConfig] = field(default_factory=dict)
    gripper: GripperConfig | None = None
    home: Pose | None = None
    rtde_rate_hz: Literal[125, 500] = 125
    pose_tolerance_m: float = 0.005
    pose_tolerance_rad: float = 0.03

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", self.host):
            raise ConfigError(f"host {self.host!r}", expected="the controller's address, as 192.168.1.10")
        reach, turn = math.dist((0, 0, 0), self.tcp[:3]), math.dist((0, 0, 0), self.tcp[3:])
        if reach > 0.6 or turn > 2 * math.pi:
            raise ConfigError(f"tcp {list(self.tcp)}", expected="metres and radians: at most 0.6 m from the flange")
        most = {"ur5": 5.0, "ur5e": 5.0}[self.model]
        if not 0 <= self.payload_kg <= most:
            raise ConfigError(f"payload_kg {self.payload_kg}", expected=f"0 to {most:g} kg for a {self.model}")
        if math.dist((0, 0, 0), self.payload_cog) > 0.6:
            raise ConfigError(f"payload_cog {list(self.payload_cog)}", expected="metres: at most 0.6 m from the flange")
        if self.model == "ur5" and self.rtde_rate_hz != 125:
            raise ConfigError(
                f"rtde_rate_hz {self.rtde_rate_hz} for a ur5", expected="125: CB3 controllers know no other"
            )
        if self.home is not None and not all(
            abs(angle) <= limit for angle, limit in zip(self.home, self.arm.joint_limit, strict=True)
        ):
            raise ConfigError(f"home {list(self.home)}", expected="six joint angles in rad, within a full turn each")
        for name, value, top in (("m", self.pose_tolerance_m, 0.05), ("rad", self.pose_tolerance_rad, 0.2)):
            if not 0 < value <= top:
                raise ConfigError(f"pose_tolerance_{name} {value}", expected=f"above 0, up to {top}")

    @property
    def arm(self) -> ArmModel:
        """Geometry of the arm."""
        return arm_model(self.model)

    @classmethod
    def load(cls, path: Path | str, **changes: Any) -> RobotConfig:
        """From a YAML file; `changes` replace fields, e.g. `host`.

        Raises:
            ConfigError: it cannot be read, or a value is missing, of the wrong type or out of range.
            UnknownNameError: an unknown key.
        """
        path = Path(path).expanduser()
        values = read_mapping(path) | changes
        return build(cls, values, path.name)

    @classmethod
    def of_twin(cls, host: str, **changes: Any) -> RobotConfig:
        """A twin at the tabletop: `TwinProcess(plant=TABLETOP_PLANT, tcp=TABLETOP_TCP)`. Its axes are the table's.

        Its pictures may be a second old: they are drawn on the processor that the policy computes on.
        """
        config = cls(
            host=host,
            model="ur5e",
            tcp=TABLETOP_TCP,
            payload_kg=0.0,
            workspace=_TABLETOP,
            action=ActionConfig(scale=LIBERO_SCALE, frame=(0.0, 0.0, math.pi)),
            cameras={name: CameraConfig(kind="twin", fps=15.0, max_age_s=1.0) for name in ("image", "image2")},
            gripper=GripperConfig(speed=1.0, allow_activation=True),
        )
        return replace(config, **changes)

    def to_base(self, vector: Vector) -> Vector:
        """A vector [..., 3] in the policy's axes, in the base frame's."""
        return np.asarray(vector) @ self.action.rotation.T


# The tabletop's own box, in the arm's base frame, which looks the other way than the table's.
_TABLETOP = Workspace(tcp_low=(-0.80, -0.45, 0.015), tcp_high=(-0.22, 0.45, 0.50))
