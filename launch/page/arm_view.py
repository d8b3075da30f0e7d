"""The arm in 3-D with the path of its tool; where no joints are known, the tool alone."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.kinematics import ArmModel, rotation_vector
from vlasteer.launch.page.arm_pose import ArmPose
from vlasteer.launch.page.arm_shape import arm_parts, hand_parts, joint_frames

if TYPE_CHECKING:
    import viser

PATH_POINTS = 240
"""Of the tool's path that are kept."""
_PATH_STEP = 0.004  # m between two of them
_FINGER = 0.04  # m that each finger opens
_OLD, _NEW = np.array([40.0, 60.0, 90.0]), np.array([77.0, 171.0, 247.0])
_VIEW_FROM, _VIEW_AT = np.array([1.05, -0.9, 0.75]), np.array([0.0, 0.0, 0.27])
_TOO_FAR = 0.3  # m: no motion, another episode


class ArmView:
    """Drawn by one thread.

    Args:
        server: where it is drawn.
        arm: whose shape is drawn.
        base: [4, 4] pose of the arm's base in the scene.
    """

    def __init__(self, server: viser.ViserServer, arm: ArmModel, base: NDArray[np.float64] | None = None) -> None:
        self._server, self._arm = server, arm
        self._base = np.eye(4) if base is None else base
        self._path: deque[NDArray[np.float64]] = deque(maxlen=PATH_POINTS)
        self._path_drawn = -1
        scene = server.scene
        scene.configure_default_lights(cast_shadow=False)  # half the work of a browser that draws in software
        self._table = scene.add_grid(
            "/table",
            width=2.4,
            height=2.4,
            cell_size=0.1,
            section_size=0.5,
            cell_color=(52, 60, 70),
            section_color=(74, 84, 97),
            fade_distance=6.0,
            plane_color=(30, 35, 42),
            plane_opacity=1.0,
            position=(0.0, 0.0, -0.002),
        )
        self._links = [scene.add_frame(f"/arm/{i}", show_axes=False, visible=False) for i in range(8)]
        for i, part in enumerate(arm_parts(arm)):
            scene.add_mesh_simple(f"/arm/{part.link}/{i}", part.vertices, part.faces, color=part.color, side="double")
        palm, *fingers = hand_parts()
        self._fingers: list[Any] = []
        for own, root in ((self._links[7], "/arm/7"), (None, "/tool")):
            if own is None:
                self._tool = scene.add_frame(root, axes_length=0.08, axes_radius=0.004, visible=False)
            shift = (0.0, 0.0, 0.0) if own is not None else (0.0, 0.0, -0.145)
            scene.add_mesh_simple(f"{root}/palm", palm.vertices, palm.faces, color=palm.color, position=shift)
            self._fingers += [
                (scene.add_mesh_simple(f"{root}/f{i}", f.vertices, f.faces, color=f.color), shift, (1, -1)[i])
                for i, f in enumerate(fingers)
            ]
        self._trail: Any = None
        self._framed = False
        server.initial_camera.position = tuple(_VIEW_FROM)
        server.initial_camera.look_at = tuple(_VIEW_AT)

    def clear(self) -> None:
        """Another episode begins: its path is empty."""
        self._path.clear()
        self._path_drawn = -1

    def draw(self, pose: ArmPose) -> None:
        """Show how the arm stands."""
        if not self._framed:
            self._frame(pose)
        with self._server.atomic():
            known = pose.joints is not None
            for link in self._links:
                link.visible = known
            self._tool.visible = not known
            if pose.joints is not None:
                for link, frame in zip(self._links, joint_frames(self._arm, pose.joints), strict=True):
                    _place(link, self._base @ frame)
            elif pose.pose is not None:
                _place(self._tool, pose.pose)
            else:
                self._tool.position = pose.position
            opening = 1.0 if np.isnan(pose.gripper) else pose.gripper
            for finger, shift, side in self._fingers:
                finger.position = (shift[0], shift[1] + side * _FINGER * opening, shift[2])
            self._extend(pose.position)

    def _frame(self, pose: ArmPose) -> None:
        """Point the camera at what there is: an arm from the side that it reaches to, a tool from nearby."""
        self._framed = True
        side = np.array([1.0, 1.0, 1.0])
        if pose.joints is not None:
            side[:2] = -1.0 if pose.position[0] < 0 else 1.0
            at = _VIEW_AT + 0.4 * pose.position * (1, 1, 0)
            start = _VIEW_FROM * side + 0.4 * pose.position * (1, 1, 0)
        else:
            at = pose.position - (0.0, 0.0, 0.1)
            start = at + 0.7 * _VIEW_FROM
            self._table.position = (at[0], at[1], pose.position[2] - 0.3)
        camera = self._server.initial_camera
        camera.position, camera.look_at = tuple(start), tuple(at)
        for client in self._server.get_clients().values():
            client.camera.position, client.camera.look_at = start, at

    def _extend(self, position: NDArray[np.float64]) -> None:
        moved = np.inf if not self._path else float(np.linalg.norm(position - self._path[-1]))
        if self._path and moved > _TOO_FAR:
            self.clear()
        if moved < _PATH_STEP:
            return
        self._path.append(np.array(position))
        if len(self._path) < 2:
            return
        points = np.array(self._path, np.float32)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        age = np.linspace(0, 1, len(points))[:, None]
        shade = (_OLD + age * (_NEW - _OLD)).astype(np.uint8)
        colors = np.stack([shade[:-1], shade[1:]], axis=1)
        if self._trail is None:
            self._trail = self._server.scene.add_line_segments(
                "/path", segments, colors, thickness=2.5, thickness_units="screen"
            )
        else:
            self._trail.points, self._trail.colors = segments, colors


def _place(handle: Any, matrix: NDArray[np.float64]) -> None:
    vector = rotation_vector(matrix[:3, :3])
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 1e-9 else vector
    handle.wxyz = (np.cos(angle / 2), *(np.sin(angle / 2) * axis))
    handle.position = matrix[:3, 3]
