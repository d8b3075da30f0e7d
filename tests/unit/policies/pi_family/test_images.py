"""Letterboxing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from vlasteer.policies.pi_family.checkpoint import Resize
from vlasteer.policies.pi_family.images import pixel_values


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_frame_that_fits_is_only_rescaled() -> None:
    for resize in Resize:
        pixels = pixel_values(frame(28, 28), 28, resize)
        assert torch.equal(pixels, torch.from_numpy(frame(28, 28)).permute(2, 0, 1) / 255 * 2 - 1)


@pytest.mark.parametrize("resize", list(Resize))
@pytest.mark.parametrize(("shape", "rows"), [((20, 40), (7, 21)), ((30, 40), (3, 24)), ((15, 40), (9, 19))])
def test_wide_frames_are_centred_on_black(resize: Resize, shape: tuple[int, int], rows: tuple[int, int]) -> None:
    pixels = pixel_values(np.full((*shape, 3), 255, np.uint8), 28, resize)
    inside = torch.zeros(28, dtype=torch.bool)
    inside[slice(*rows)] = True
    assert torch.all(pixels[:, inside] > 0.999)
    assert torch.all(pixels[:, ~inside] == -1)


def test_tall_frames_too() -> None:
    pixels = pixel_values(np.full((40, 20, 3), 255, np.uint8), 28, Resize.PLAIN)
    assert torch.all(pixels[:, :, 7:21] > 0.999)
    assert torch.all(pixels[:, :, :7] == -1)
    assert torch.all(pixels[:, :, 21:] == -1)


def test_the_two_filters() -> None:
    image = frame(256, 256)
    plain, smooth = (pixel_values(image, 56, resize) for resize in Resize)
    unit = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    wanted = F.interpolate(unit, size=(56, 56), mode="bilinear", align_corners=False)[0] * 2 - 1
    assert torch.allclose(plain, wanted, atol=1e-6)
    pillow = np.asarray(Image.fromarray(image).resize((56, 56), Image.Resampling.BILINEAR))
    assert torch.equal(smooth, torch.from_numpy(pillow.copy()).permute(2, 0, 1) / 255 * 2 - 1)
    assert smooth.std() < plain.std()  # averaging noise makes it quieter
