"""What is done to a picture between the device and the policy: turn, flip, crop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlasteer.errors import ConfigError
from vlasteer.robots.cameras.config import CameraConfig
from vlasteer.robots.cameras.frames import Image


def shaper(config: CameraConfig) -> Callable[[Image], Image]:
    """A function of uint8 [height, width, 3] pictures: turned clockwise, then flipped, then cropped.

    It raises ConfigError for a picture that the crop does not fit into.
    """

    def shape(image: Image) -> Image:
        image = np.rot90(image, -(config.rotate_deg // 90))
        if config.flip_horizontal:
            image = image[:, ::-1]
        if config.flip_vertical:
            image = image[::-1]
        if config.crop is None:
            return image
        left, top, width, height = config.crop
        if left + width > image.shape[1] or top + height > image.shape[0]:
            raise ConfigError(
                f"crop {list(config.crop)} of a picture of {image.shape[1]} x {image.shape[0]} pixels",
                expected="[left, top, width, height] within it",
            )
        return image[top : top + height, left : left + width]

    return shape
