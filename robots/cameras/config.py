"""Which device is which camera, and what is done to its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlasteer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """One camera, as the policy's camera of the name under which this stands.

    Attributes:
        kind: opencv (UVC, by V4L2), video (a file, for tests and dry runs), realsense (extra `realsense`), twin.
        device: opencv: index or path, better a /dev/v4l/by-id/ one, which stays; video: path of the file; realsense:
            serial number, or "" for the only one; twin: its camera's name, or "" for the policy's.
        width: of the pictures that are asked of the device, pixels.
        height: of these pictures.
        fps: pictures per second that are asked of the device.
        max_age_s: oldest frame that is given to the policy, s. A frame that is older ends the motion.
        rotate_deg: clockwise turn of the picture: 0, 90, 180, 270.
        flip_horizontal: whether left and right are exchanged, after the turn.
        flip_vertical: whether top and bottom are exchanged, after the turn.
        crop: left, top, width, height in pixels of the turned and flipped picture; null is all of it.
        loop: video: whether it begins again at its end; otherwise its last frame becomes stale.
    """

    kind: Literal["opencv", "video", "realsense", "twin"]
    device: int | str = ""
    width: int = 640
    height: int = 480
    fps: float = 30.0
    max_age_s: float = 0.2
    rotate_deg: Literal[0, 90, 180, 270] = 0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    crop: tuple[int, int, int, int] | None = None
    loop: bool = True

    def __post_init__(self) -> None:
        for name, value, top in (("width", self.width, 10000), ("height", self.height, 10000), ("fps", self.fps, 1000)):
            if not 0 < value <= top:
                raise ConfigError(f"{name} {value}", expected=f"a number above 0, up to {top}")
        if not 0.02 <= self.max_age_s <= 2.0:
            raise ConfigError(f"max_age_s {self.max_age_s}", expected="0.02 to 2 s")
        if self.kind in ("video", "opencv") and self.device == "":
            raise ConfigError(f"a camera of kind {self.kind} without device", expected="its index or path")
        if self.kind != "opencv" and isinstance(self.device, int):
            raise ConfigError(f"device {self.device}", expected="text for every kind but opencv")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise ConfigError(
                f"crop {list(self.crop)}", expected="[left, top, width, height], with the first two from 0"
            )
