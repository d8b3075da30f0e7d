"""Cameras of robots: each in a grab thread of its own, newest picture first, stale ones refused.

    frames.py      Frame, and the thread that keeps the newest
    config.py      which device is which camera
    pictures.py    turning, flipping, cropping
    devices.py     opencv (V4L2), video files, RealSense, twins

    with open_cameras({"image": CameraConfig(kind="opencv", device=0)}) as cameras:
        frame = cameras["image"].frame()

Every picture is uint8 [height, width, 3], RGB.
"""

from __future__ import annotations

from vlasteer.robots.cameras.config import CameraConfig
from vlasteer.robots.cameras.devices import open_camera, open_cameras
from vlasteer.robots.cameras.frames import Camera, Frame, GrabbedCamera

__all__ = ["Camera", "CameraConfig", "Frame", "GrabbedCamera", "open_camera", "open_cameras"]
