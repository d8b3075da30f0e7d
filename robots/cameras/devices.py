"""The devices: UVC cameras and video files through OpenCV, RealSense, and the cameras of a twin.

Each is a `frames.Source`; its library is imported when it is opened, and its absence is an error that names the extra.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vlasteer.errors import ConfigError, MissingDependencyError, WorldError
from vlasteer.robots.cameras.config import CameraConfig
from vlasteer.robots.cameras.frames import GrabbedCamera, Image, Source
from vlasteer.robots.cameras.pictures import shaper


def open_camera(name: str, config: CameraConfig, *, host: str = "") -> GrabbedCamera:
    """Start the camera; its device is opened in its thread, and what is wrong with it is told by `wait_ready`.

    Args:
        name: what the policy calls it.
        config: the device.
        host: where the twin is, for cameras of a twin.
    """

    def source() -> Source:
        match config.kind:
            case "opencv":
                return UvcCamera(config)
            case "video":
                return VideoFile(config)
            case "realsense":
                return RealSense(config)
            case "twin":
                return TwinCamera(host, str(config.device) or name, config.fps)

    return GrabbedCamera(name, source, max_age_s=config.max_age_s, shape=shaper(config))


@contextmanager
def open_cameras(
    configs: Mapping[str, CameraConfig], *, host: str = "", timeout_s: float = 10.0
) -> Iterator[Mapping[str, GrabbedCamera]]:
    """All cameras, each with a picture; closed at the end of the `with`.

    Raises:
        VlasteerError: one cannot be opened, or gives no picture in that time.
    """
    with ExitStack() as stack:
        cameras = {name: open_camera(name, config, host=host) for name, config in configs.items()}
        for camera in cameras.values():
            stack.callback(camera.close)
        for camera in cameras.values():
            camera.wait_ready(timeout_s)
        yield cameras


class UvcCamera:
    """A camera that V4L2 (or the platform's own interface) offers, with a buffer of one picture.

    The time of a picture is the kernel's time stamp where OpenCV passes it on and it can be true (the monotonic clock,
    set by the UVC driver at the start of the frame), else the time of arrival.

    Raises:
        WorldError: there is no such camera.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._cv2 = _opencv()
        self._config = config
        self._device = self._cv2.VideoCapture(config.device)
        self._closed = False
        if not self._device.isOpened():
            raise WorldError(f"there is no camera at {config.device}", fix="List them with: v4l2-ctl --list-devices")
        for key, value in (
            (self._cv2.CAP_PROP_FOURCC, self._cv2.VideoWriter.fourcc(*"MJPG")),  # YUYV is slower than 30 Hz over USB 2
            (self._cv2.CAP_PROP_FRAME_WIDTH, config.width),
            (self._cv2.CAP_PROP_FRAME_HEIGHT, config.height),
            (self._cv2.CAP_PROP_FPS, config.fps),
            (self._cv2.CAP_PROP_BUFFERSIZE, 1),  # otherwise what is read is several pictures old
        ):
            self._device.set(key, value)

    def grab(self) -> tuple[Image, float]:
        """The next picture."""
        good, image = self._device.read()
        now = time.monotonic()
        if not good or image is None:
            raise WorldError(f"the camera at {self._config.device} gives no picture any more", fix="Check its cable")
        if image.shape[1] != self._config.width or image.shape[0] != self._config.height:
            raise ConfigError(
                f"the camera at {self._config.device} gives {image.shape[1]} x {image.shape[0]} pixels",
                expected=f"{self._config.width} x {self._config.height}, as the robot file says",
                fix="Ask for a size that it has: v4l2-ctl --list-formats-ext",
            )
        stamp = self._device.get(self._cv2.CAP_PROP_POS_MSEC) / 1e3
        taken = stamp if now - _PLAUSIBLE_S < stamp <= now else now
        return self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB), taken

    def close(self) -> None:
        """Let go of it."""
        self._device.release()


class VideoFile:
    """A file, played at its own rate (or `fps` where it has none) as if it were a camera.

    Raises:
        ConfigError: there is no such file, or nothing in it.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._cv2 = _opencv()
        self._path, self._loop = Path(str(config.device)).expanduser(), config.loop
        self._device = self._cv2.VideoCapture(str(self._path)) if self._path.is_file() else None
        if self._device is None or not self._device.isOpened():
            raise ConfigError(f"{self._path} is no video that can be played")
        rate = self._device.get(self._cv2.CAP_PROP_FPS)
        self._period = 1.0 / (rate if 0 < rate <= 1000 else config.fps)
        self._next = time.monotonic()

    def grab(self) -> tuple[Image, float]:
        """The next picture, when it is due."""
        assert self._device is not None
        good, image = self._device.read()
        if not good and self._loop:
            self._device.set(self._cv2.CAP_PROP_POS_FRAMES, 0)
            good, image = self._device.read()
        if not good or image is None:
            raise WorldError(f"the video {self._path} has ended", fix="Set loop: true to have it begin again")
        time.sleep(max(0.0, self._next - time.monotonic()))
        now = time.monotonic()
        self._next = max(self._next + self._period, now)
        return self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB), now

    def close(self) -> None:
        """Close the file."""
        if self._device is not None:
            self._device.release()


class RealSense:
    """The colour picture of an Intel RealSense. Not tried with a device: none was at hand.

    Raises:
        WorldError: there is no such camera.
        MissingDependencyError: its library is not installed.
    """

    def __init__(self, config: CameraConfig) -> None:
        try:
            import pyrealsense2 as rs  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingDependencyError.for_extra("pyrealsense2", "realsense") from error
        self._pipeline: Any = rs.pipeline()
        wanted: Any = rs.config()
        if config.device:
            wanted.enable_device(str(config.device))
        wanted.enable_stream(rs.stream.color, config.width, config.height, rs.format.rgb8, round(config.fps))
        try:
            profile = self._pipeline.start(wanted)
        except RuntimeError as error:
            raise WorldError(f"no RealSense camera {config.device} can be started ({error})") from error
        for sensor in profile.get_device().query_sensors():
            if sensor.supports(rs.option.frames_queue_size):
                sensor.set_option(rs.option.frames_queue_size, 1)

    def grab(self) -> tuple[Image, float]:
        """The next picture."""
        import numpy as np

        colour = self._pipeline.wait_for_frames(2000).get_color_frame()
        now = time.monotonic()
        # Global time is milliseconds of this machine's wall clock; other domains cannot be compared with ours.
        age = time.time() - colour.get_timestamp() / 1e3
        return np.asanyarray(colour.get_data()).copy(), now - age if 0 <= age < _PLAUSIBLE_S else now

    def close(self) -> None:
        """Let go of it."""
        self._pipeline.stop()


class TwinCamera:
    """A camera of a twin, over its hook channel.

    The time of a picture is when it was asked for: the twin draws the state in which the question finds it.

    Raises:
        WorldError: there is no twin.
        ConfigError: it has no such camera.
    """

    def __init__(self, host: str, camera: str, fps: float) -> None:
        from vlasteer.robots.twin.hook_channel import HookClient

        self._hooks, self._camera, self._period = HookClient(host), camera, 1.0 / fps
        known = self._hooks.call("cameras")
        if camera not in known:
            self._hooks.close()
            raise ConfigError(f"the twin has no camera '{camera}'", expected=f"one of: {', '.join(known) or '(none)'}")
        self._next = time.monotonic()

    def grab(self) -> tuple[Image, float]:
        """The next picture, at most `fps` a second."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        taken = time.monotonic()
        self._next = max(self._next + self._period, taken)
        image, _ = self._hooks.camera(self._camera)
        return image, taken

    def close(self) -> None:
        """Close the channel."""
        self._hooks.close()


_PLAUSIBLE_S = 1.0  # a device's time stamp that says more than that is of another clock


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError.for_extra("opencv-python", "cameras") from error
    return cv2
