"""Pictures of the scene: several cameras from one off-screen context, supersampled, with planar shadows.

MuJoCo's own shadow maps and multisampling cost 5 to 20 ms a picture in software rendering, whatever its size. Here each
picture is drawn at twice the resolution and averaged, and shadows are drawn as geometry: every geom that casts one is
drawn once more, squashed onto the table along the light's direction in the table's darker colour (planar shadows:
Blinn, "Me and my (fake) shadow", 1988). A shadow falls on the table only.
"""

from __future__ import annotations

import atexit
import importlib
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.gl import import_mujoco, install_hint
from vlasteer.errors import WorldError

mujoco = import_mujoco()

SUPERSAMPLING = 2
"""Pixels drawn per pixel and axis."""

_MAX_GEOMS = 256
_SHADOW_HEIGHT = 0.0004  # above the table, m: enough for the depth buffer, too little to see
_SHADOW_EMISSION = 50.0
_SHADOW_THICKNESS = 0.001  # what is left of a caster's height; not 0, so that normals stay defined


class SceneRenderer:
    """Draws the cameras of one model. Belongs to the process and thread that made it.

    Args:
        model: the compiled scene (mujoco.MjModel).
        cameras: names of the cameras, in the order in which `draw` returns them.
        size: edge of the square pictures in pixels.
        casters: ids of the geoms that cast a shadow on the plane z = 0.
        light: direction in which the shadows fall; its z is negative.
        shadow_rgb: colour of the plane in the shadow.

    Raises:
        WorldError: no OpenGL context can be had.
    """

    def __init__(
        self,
        model: Any,
        cameras: Sequence[str],
        size: int,
        casters: NDArray[np.int64],
        light: NDArray[np.float64],
        shadow_rgb: Sequence[float],
    ) -> None:
        self._model, self._casters = model, casters
        self._cameras = [_fixed_camera(model, name) for name in cameras]
        drawn = size * SUPERSAMPLING
        self._viewport = mujoco.MjrRect(0, 0, drawn, drawn)
        self._pixels = np.empty((drawn, drawn, 3), np.uint8)
        try:
            self._gl: Any = importlib.import_module("mujoco.gl_context").GLContext(drawn, drawn)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as failure:  # PyOpenGL, GLFW and MuJoCo each raise their own kinds when no context can be had
            raise WorldError(f"no off-screen rendering here ({failure})", fix=install_hint()) from failure
        # PyOpenGL complains loudly about contexts that outlive EGL, which mujoco ends at exit; this runs before that.
        close = weakref.WeakMethod(self.close)
        atexit.register(lambda: (method := close()) and method())
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._option = mujoco.MjvOption()
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._shear = np.array([[1, 0, -light[0] / light[2]], [0, 1, -light[1] / light[2]], [0, 0, _SHADOW_THICKNESS]])
        # Almost all of the shadow's brightness is emission: the light on squashed geoms means nothing.
        self._shadow_rgba = np.array([*(channel / _SHADOW_EMISSION for channel in shadow_rgb), 1.0], np.float32)
        self._shadows: list[Any] = []

    def draw(self, data: Any) -> list[NDArray[np.uint8]]:
        """One uint8 [size, size, 3] picture per camera, RGB, upright, of a mujoco.MjData with up-to-date poses."""
        self._gl.make_current()
        if not self._shadows:  # after its first update a scene differs by pixels at the shadows' edges
            self._update(data)
        self._update(data)
        pictures = []
        for camera in self._cameras:
            mujoco.mjv_updateCamera(self._model, data, camera, self._scene)
            mujoco.mjr_render(self._viewport, self._scene, self._context)
            mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
            pictures.append(halved(self._pixels[::-1]))
        return pictures

    def close(self) -> None:
        """Free the context. Idempotent."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None

    def _update(self, data: Any) -> None:
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._cameras[0], everything, self._scene)
        self._cast_shadows(data)

    def _cast_shadows(self, data: Any) -> None:
        first = self._scene.ngeom
        if not self._shadows:
            self._shadows = [self._scene.geoms[first + i] for i in range(len(self._casters))]
            for geom, caster in zip(self._shadows, self._casters, strict=True):
                size, kind = self._model.geom_size[caster], self._model.geom_type[caster]
                mujoco.mjv_initGeom(geom, kind, size, np.zeros(3), np.eye(3).ravel(), self._shadow_rgba)
                geom.emission, geom.specular = _SHADOW_EMISSION, 0.0
        mats = self._shear @ data.geom_xmat[self._casters].reshape(-1, 3, 3)
        positions = data.geom_xpos[self._casters] @ self._shear.T
        positions[:, 2] += _SHADOW_HEIGHT
        for geom, position, mat in zip(self._shadows, positions, mats, strict=True):
            geom.pos = position
            geom.mat = mat
        self._scene.ngeom = first + len(self._casters)


def halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average 2 x 2 pixels: uint8 [2h, 2w, 3] -> uint8 [h, w, 3], rounded half up."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    rows = np.add(picture[0::2], picture[1::2], dtype=np.uint16).ravel()
    rows[:-3] += rows[3:]  # the same channel of the next pixel; every other sum is then one we want
    rows += 2
    rows >>= 2
    sums = rows.astype(np.uint8).reshape(height, width, 6)
    small = np.empty((height, width, 3), np.uint8)
    for channel in range(3):  # three strided copies are several times faster than one of triples
        small[..., channel] = sums[..., channel]
    return small


def _fixed_camera(model: Any, name: str) -> Any:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera(name).id
    return camera
