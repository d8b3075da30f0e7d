"""Which OpenGL back end MuJoCo renders with off screen.

MuJoCo, PyOpenGL and robosuite each read their environment variable once, when they are imported; robosuite even forces
EGL where nothing is set. So the choice has to be made before any of them is imported, in one place for all simulators.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import sys
from typing import Any

OFFSCREEN = ("egl", "osmesa")


def choose_gl() -> str:
    """Choose the back end of off-screen rendering, before mujoco or robosuite is imported; return its name.

    `MUJOCO_GL` is respected when it is set. Otherwise, on Linux, the first that works on this machine: EGL (a GPU where
    there is one, else Mesa's software renderer), then OSMesa. `PYOPENGL_PLATFORM` is set to match. Where neither works,
    or where mujoco was imported earlier, nothing is changed and "" is returned: simulations still step, and whoever
    fails to draw the first picture says `install_hint()`. Elsewhere than on Linux mujoco's own default is right.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if not chosen and platform.system() == "Linux" and "mujoco" not in sys.modules:
        osmesa = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
        chosen = "egl" if _egl_works() else "osmesa" if _loads(*osmesa) else ""
        if chosen:
            os.environ["MUJOCO_GL"] = chosen
    if chosen in OFFSCREEN:
        os.environ.setdefault("PYOPENGL_PLATFORM", chosen)
    return chosen


def import_mujoco() -> Any:
    """The module mujoco, imported after the choice. Its bindings carry no types: hence Any."""
    choose_gl()
    return importlib.import_module("mujoco")


def install_hint() -> str:
    """What to do where no back end works, for an error's `fix`."""
    return "Run: sudo apt-get install libegl1 libgl1-mesa-dri (or libosmesa6), or set MUJOCO_GL to egl, osmesa or glfw"


def _loads(*names: str) -> ctypes.CDLL | None:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _egl_works() -> bool:
    """Whether some EGL device can be initialised, as mujoco will try: the library may be there without a driver."""
    egl = _loads("libEGL.so.1", "libEGL.so")
    if egl is None:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    query_address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_address = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query_address or not display_address:
        return False
    handle, handles, count = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int)
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, handles, count)(query_address)
    get_display = ctypes.CFUNCTYPE(handle, ctypes.c_uint, handle, handle)(display_address)
    egl.eglInitialize.argtypes = [handle, handle, handle]
    egl.eglTerminate.argtypes = [handle]
    devices, found = (ctypes.c_void_p * 16)(), ctypes.c_int(0)
    if not query(len(devices), devices, ctypes.byref(found)):
        return False
    platform_device = 0x313F  # EGL_PLATFORM_DEVICE_EXT
    for device in devices[: found.value]:
        display = get_display(platform_device, device, None)
        if display and egl.eglInitialize(display, None, None):
            # An initialised software display owns threads, and a forked worker would wait for them for ever.
            egl.eglTerminate(display)
            return True
    return False
