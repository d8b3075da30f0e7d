"""The image path of OpenVLA's LIBERO evaluation, stage by stage.

The frames of the training data were stored as JPEG, resized and randomly cropped, so the evaluation repeats that path
on every rendered frame (openvla `experiments/robot/libero`): turn by 180 degrees, JPEG there and back, Lanczos to 224,
and the centre crop that matches the random ones. The original uses TensorFlow; resizing and crop are written here after
its definitions and agree to one grey level. Its JPEG decoder uses another integer DCT than libjpeg's default, so that
stage differs by about one level on average and at most about fifteen.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 224
JPEG_QUALITY = 95
CROP_AREA = 0.9
_LANCZOS_RADIUS = 3.0

Frame = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""


def libero_image(frame: Frame) -> Frame:
    """The whole path after the rotation: an upright frame -> uint8 [224, 224, 3]."""
    return centre_crop(lanczos_resize(jpeg_round_trip(frame)))


def rotate(frame: Frame) -> Frame:
    """Turn by 180 degrees: LIBERO's renderer and its training data are upside down against each other."""
    return np.ascontiguousarray(frame[::-1, ::-1])


def jpeg_round_trip(frame: Frame) -> Frame:
    """Encode at quality 95 with 4:2:0 chroma subsampling, and decode."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return np.asarray(Image.open(buffer).convert("RGB"), np.uint8)


def lanczos_resize(frame: Frame, size: int = SIZE) -> Frame:
    """To [size, size, 3] with an antialiased Lanczos kernel of radius 3, in float and rounded once.

    PIL's own Lanczos rounds its weights and differs by up to 27 levels.
    """
    rows = _lanczos_weights(frame.shape[0], size)
    columns = _lanczos_weights(frame.shape[1], size)
    resized = np.einsum("oh,hwc->owc", rows, frame.astype(np.float32), optimize=True)
    resized = np.einsum("pw,owc->opc", columns, resized, optimize=True)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


@lru_cache(maxsize=16)
def _lanczos_weights(source: int, target: int) -> NDArray[np.float32]:
    """float32 [target, source]: each row holds the normalised kernel around its sample, stretched when shrinking."""
    scale = np.float32(source) / np.float32(target)
    stretch = max(scale, np.float32(1))
    centres = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale
    distance = (np.arange(source, dtype=np.float32) + np.float32(0.5) - centres[:, None]) / stretch
    weights = np.where(
        np.abs(distance) < _LANCZOS_RADIUS, np.sinc(distance) * np.sinc(distance / _LANCZOS_RADIUS), 0.0
    ).astype(np.float32)
    return weights / weights.sum(axis=1, keepdims=True)


def centre_crop(frame: Frame, area: float = CROP_AREA) -> Frame:
    """The central `area` of the picture (side sqrt(area)), bilinearly back to the size of the frame."""
    pixels = frame.astype(np.float32) / np.float32(255)
    cropped = _sample_rows(_sample_rows(pixels, area).transpose(1, 0, 2), area).transpose(1, 0, 2)
    return np.clip(cropped * np.float32(255.5), 0, 255).astype(np.uint8)


def _sample_rows(pixels: NDArray[np.float32], area: float) -> NDArray[np.float32]:
    """Linear interpolation along the first axis at the rows of the crop; corners are sampled exactly."""
    count = pixels.shape[0]
    side = np.sqrt(np.float32(area))
    first = (np.float32(1) - side) / np.float32(2)
    last = first + side
    step = (last - first) * np.float32(count - 1) / np.float32(count - 1)
    positions = first * np.float32(count - 1) + np.arange(count, dtype=np.float32) * step
    below = np.floor(positions).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    weight = (positions - below.astype(np.float32))[:, None, None]
    return pixels[below] + (pixels[above] - pixels[below]) * weight
