"""A camera frame as pixel values for SigLIP: letterboxed into a square, -1 black to 1 white."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vlasteer.policies.pi_family.checkpoint import Resize


def pixel_values(frame: NDArray[np.uint8], size: int, resize: Resize) -> Tensor:
    """uint8 [height, width, 3] -> float32 [3, size, size] in [-1, 1], centred on black, its aspect ratio kept."""
    height, width = frame.shape[:2]
    ratio = max(height / size, width / size)
    tall, wide = max(int(height / ratio), 1), max(int(width / ratio), 1)
    if (height, width) == (size, size):
        pixels = _unit(frame)
    elif resize is Resize.PLAIN:
        pixels = F.interpolate(_unit(frame)[None], size=(tall, wide), mode="bilinear", align_corners=False)[0].clamp(
            0, 1
        )
    else:
        pixels = _unit(np.asarray(Image.fromarray(frame).resize((wide, tall), Image.Resampling.BILINEAR)))
    top, left = (size - tall) // 2, (size - wide) // 2
    boxed = F.pad(pixels, (left, size - wide - left, top, size - tall - top))
    return boxed * 2 - 1


def _unit(frame: NDArray[np.uint8]) -> Tensor:
    """uint8 [height, width, 3] -> float32 [3, height, width] in [0, 1]."""
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1).float() / 255
