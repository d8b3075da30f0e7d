"""The physics: one scene, stepped at 20 Hz by end-effector deltas. No tasks, no words, no seeds; pictures on request.

Control. The arm follows a commanded pose that starts where it is and that each action moves by its delta: a zero action
holds it still. Inverse kinematics turns the commanded pose into joint angles (closed form, nearest to the last ones);
the joint servos get them interpolated over the control period, with the velocity as feed-forward. What is executed is
the action limited to +-1, to the workspace and to the joints' speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.gl import import_mujoco
from vlasteer.envs.tabletop import arm, gripper, scene
from vlasteer.envs.tabletop.layout import Layout
from vlasteer.envs.tabletop.rendering import SceneRenderer
from vlasteer.envs.tabletop.tasks import Snapshot
from vlasteer.errors import ConfigError, ConventionError, WorldError
from vlasteer.kinematics import UR5E, Vector, rotation_matrix, rotation_vector
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, Gripper

mujoco = import_mujoco()

RATE_HZ = 20.0
ACTION_SPEC = ActionSpec(
    kind=ActionKind.EE_DELTA,
    gripper=Gripper.MINUS_OPEN_PLUS_CLOSED,
    scale=(0.05, 0.05, 0.05, 0.5, 0.5, 0.5),
    rate_hz=RATE_HZ,
    names=EE_NAMES,
)
"""LIBERO's: +-1 is 5 cm and 0.5 rad, so that policies and data can be carried over. 5 cm in 50 ms is 1 m/s, a UR5e's
usual top speed; 0.5 rad is more than its joints can turn in that time (0.157 rad), and executed as far as they can."""

STATE_NAMES = ("eef_x", "eef_y", "eef_z", "eef_rx", "eef_ry", "eef_rz", "finger_left", "finger_right")
"""Pinch point (m), orientation as a rotation vector (rad), fingers' positions (m, 0 closed to 0.04 open)."""

WORKSPACE = ((0.22, 0.80), (-0.45, 0.45), (0.015, 0.50))
"""Of the commanded pinch point: x, y, z ranges, m."""

_SMALL = 256  # pixels; in larger pictures round things are rounder
_SCALE = np.array(ACTION_SPEC.scale)
_SUBSTEPS = round(1.0 / (RATE_HZ * scene.TIMESTEP_S))
_SETTLING_STEPS = 20
_JOINT_STEP = np.array(UR5E.joint_speed) / RATE_HZ
_LOST = 1.0  # rad: a joint solution this far off is another branch of the inverse kinematics, not a way to go
_SLIPPED = 0.05  # m: an arm this far behind its command is being held back, and the command comes back to it
_ELBOW_UP = np.array([-1.74, 2.04, -1.87, -1.57])  # shoulder_lift to wrist_2: of eight solutions the usual one
_TOOL_DOWN = np.diag([1.0, -1.0, -1.0])  # half a turn about x, as in LIBERO; the fingers open along the table's y axis
_BASE = np.diag([-1.0, -1.0, 1.0])  # the arm's base frame in the world: turned by half a turn
# s by which the servo's damping holds the joints back, less the physics' step by which a control takes effect early.
_FEED_FORWARD = np.divide(arm.SERVO_DAMPING, arm.SERVO_STIFFNESS) - scene.TIMESTEP_S


class Simulation:
    """One scene. Same layout and actions give the same states and pictures, bit for bit, whatever happened before.

    Args:
        image_size: edge of the square pictures, pixels.
        cameras: which of `scene.CAMERAS` take pictures.
    """

    def __init__(self, image_size: int = 224, cameras: Sequence[str] = scene.CAMERAS) -> None:
        if not 16 <= image_size <= scene.LARGEST_PICTURE:
            raise ConfigError(f"image size {image_size}", expected=f"16 to {scene.LARGEST_PICTURE} pixels")
        self.image_size, self.cameras = image_size, tuple(cameras)
        self._model = mujoco.MjModel.from_xml_string(scene.mjcf(14 if image_size <= _SMALL else 36))
        self._data = mujoco.MjData(self._model)
        self._renderer: SceneRenderer | None = None
        self._layout: Layout | None = None
        self._tcp = self._model.site("tcp").id
        self._object_geoms = [self._model.geom(name).id for name in scene.OBJECTS]
        self._object_qpos = [int(self._model.joint(name).qposadr[0]) for name in scene.OBJECTS]
        body_of = self._model.geom_bodyid
        self._bin_geoms = [np.flatnonzero(body_of == self._model.body(name).id) for name in scene.BINS]

    # --- episode ------------------------------------------------------------------------------------------------------

    def reset(self, layout: Layout) -> None:
        """Put everything where the layout says and let it settle."""
        model, data = self._model, self._data
        mujoco.mj_resetData(model, data)
        self._layout = layout
        for geom, rgb in zip(self._object_geoms, layout.object_rgb, strict=True):
            model.geom_rgba[geom, :3] = rgb
        for geoms, rgb in zip(self._bin_geoms, layout.bin_rgb, strict=True):
            model.geom_rgba[geoms, :3] = rgb
        data.mocap_pos[:, :2] = layout.bins
        data.mocap_pos[:, 2] = 0.0
        for address, (x, y, yaw) in zip(self._object_qpos, layout.objects, strict=True):
            data.qpos[address : address + 7] = (x, y, scene.HALF_BLOCK, math.cos(yaw / 2), 0, 0, math.sin(yaw / 2))
        if layout.holding:
            data.qpos[self._object_qpos[0] + 2] = layout.hand[2]
        self._position, self._rotation = layout.hand.copy(), _TOOL_DOWN.copy()
        solutions = UR5E.inverse_all(self._flange(self._position, self._rotation))
        if not solutions:
            raise WorldError(f"the arm cannot reach the start {layout.hand.tolist()}")
        joints = np.array(min(solutions, key=lambda q: float(np.abs(np.array(q[1:5]) - _ELBOW_UP).max())))
        self._joints = joints
        opening = scene.HALF_BLOCK if layout.holding else gripper.FINGER_TRAVEL
        self._fingers = 0.0 if layout.holding else opening
        data.qpos[:6], data.qpos[6:8] = joints, opening
        data.ctrl[:6], data.ctrl[6] = joints, self._fingers
        for _ in range(_SETTLING_STEPS):
            mujoco.mj_step(model, data)
        self._update_poses()
        data.time = 0.0

    def step(self, action: Vector) -> Vector:
        """Execute one action [7] for one control period; return what of it was executed.

        Raises:
            ConventionError: not 7 finite numbers; nothing is stepped then.
            WorldError: there is no episode, or the physics diverged.
        """
        self._require_layout()
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (ACTION_SPEC.size,) or not np.all(np.isfinite(action)):
            wanted = f"{ACTION_SPEC.size} finite numbers ({', '.join(EE_NAMES)})"
            raise ConventionError(f"an action of shape {action.shape}: {action.tolist()}", expected=wanted)
        executed, joints = self._command(np.clip(action, -1.0, 1.0))
        data, old = self._data, self._joints
        ahead = _FEED_FORWARD * (joints - old) * RATE_HZ
        way = gripper.FINGER_SPEED * scene.TIMESTEP_S
        wanted = gripper.FINGER_TRAVEL * (1.0 - executed[6]) / 2
        if wanted > self._fingers:  # fingers that press on something open from where they are
            self._fingers = max(self._fingers, float(data.qpos[6:8].min()))
        for substep in range(1, _SUBSTEPS + 1):
            data.ctrl[:6] = old + (joints - old) * (substep / _SUBSTEPS) + ahead
            self._fingers += min(max(wanted - self._fingers, -way), way)
            data.ctrl[6] = self._fingers
            mujoco.mj_step(self._model, data)
        self._joints = joints
        self._update_poses()
        if not np.all(np.isfinite(data.qpos)):
            raise WorldError("the simulation diverged", fix="Report this with the episode's key and actions")
        return executed

    # --- what can be seen ---------------------------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The compiled scene (`mujoco.MjModel`), for whoever drives the physics otherwise than by `step`."""
        return self._model

    @property
    def data(self) -> Any:
        """Its state (`mujoco.MjData`); `pictures` shows it."""
        return self._data

    @property
    def time_s(self) -> float:
        """Simulated seconds since the reset."""
        return float(self._data.time)

    @property
    def tcp(self) -> Vector:
        """float64 [3] position of the pinch point, m."""
        return self._data.site_xpos[self._tcp].copy()

    def state(self) -> Vector:
        """float64 [8], see `STATE_NAMES`."""
        rotation = _about_x(self._data.site_xmat[self._tcp].reshape(3, 3))
        return np.concatenate([self._data.site_xpos[self._tcp], rotation, self._data.qpos[6:8]])

    def snapshot(self) -> Snapshot:
        """The privileged state."""
        layout, data = self._require_layout(), self._data
        return Snapshot(
            tcp=self.tcp,
            opening=float(data.qpos[6:8].mean()),
            objects=np.array([data.qpos[address : address + 3] for address in self._object_qpos]),
            start=layout.objects[0, :2],
            goal=layout.goal,
        )

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """Camera name -> uint8 [image_size, image_size, 3]."""
        self._require_layout()
        if self._renderer is None:
            self._renderer = SceneRenderer(
                self._model,
                self.cameras,
                self.image_size,
                casters=np.flatnonzero((self._model.geom_group == 1) | (self._model.geom_group == 2)),
                light=np.array(scene.KEY_LIGHT),
                shadow_rgb=scene.SHADOW_RGB,
            )
        return dict(zip(self.cameras, self._renderer.draw(self._data), strict=True))

    def close(self) -> None:
        """Free the rendering context. Idempotent; the simulation can be used again afterwards."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # --- control ------------------------------------------------------------------------------------------------------

    def _command(self, action: Vector) -> tuple[Vector, Vector]:
        """Move the commanded pose; return the executed action and the joint angles to be reached."""
        if float(np.linalg.norm(self._position - self._data.site_xpos[self._tcp])) > _SLIPPED:
            self._joints = self._data.qpos[:6].copy()
            self._position, self._rotation = self._pose(self._joints)
        low, high = np.array(WORKSPACE).T
        # What already lies outside (it can be pushed there) may stay, not go further.
        low, high = np.minimum(low, self._position), np.maximum(high, self._position)
        wanted = self._position + _SCALE[:3] * action[:3]
        position = np.clip(wanted, low, high)
        rotation = rotation_matrix(_SCALE[3:] * action[3:6]) @ self._rotation
        limited = not np.array_equal(position, wanted)
        joints = UR5E.inverse(self._flange(position, rotation), self._joints)
        if joints is None or float(np.abs(joints - self._joints).max()) > _LOST:
            limited, position, rotation, joints = True, self._position, self._rotation, self._joints
        excess = float(np.max(np.abs(joints - self._joints) / _JOINT_STEP))
        if excess > 1.0:
            limited, joints = True, self._joints + (joints - self._joints) / excess
            position, rotation = self._pose(joints)
        executed = action.copy()
        if limited:
            executed[:3] = (position - self._position) / _SCALE[:3]
            executed[3:6] = rotation_vector(rotation @ self._rotation.T) / _SCALE[3:]
        self._position, self._rotation = position, rotation
        return executed, joints

    def _flange(self, position: Vector, rotation: Vector) -> Vector:
        """Pose of the flange in the arm's base frame that puts the pinch point there (world frame)."""
        pose = np.eye(4)
        pose[:3, :3] = _BASE @ rotation
        pose[:3, 3] = _BASE @ (position - gripper.TCP_OFFSET * rotation[:, 2])
        return pose

    def _pose(self, joints: Vector) -> tuple[Vector, Vector]:
        """Pinch point and its orientation (world frame) at the joint angles."""
        flange = UR5E.forward(joints)
        rotation = _BASE @ flange[:3, :3]
        return _BASE @ flange[:3, 3] + gripper.TCP_OFFSET * rotation[:, 2], rotation

    def _update_poses(self) -> None:
        # mj_step leaves poses one substep behind the positions.
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _require_layout(self) -> Layout:
        if self._layout is None:
            raise WorldError("the simulation has no episode", fix="Call reset first")
        return self._layout


def _about_x(rotation: Vector) -> Vector:
    """The rotation vector (rad) that turns about +x rather than -x, with an angle in [0, 2 pi).

    A tool that points down is half a turn about x, where the shorter of the two vectors jumps between signs.
    """
    vector = rotation_vector(rotation)
    angle = float(np.linalg.norm(vector))
    return vector * (1.0 - 2 * math.pi / angle) if vector[0] < 0 else vector
