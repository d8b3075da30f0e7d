"""Frames to pixel values, and LIBERO's evaluation path; parity with the originals is in tests/parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlasteer.policies.openvla.config import OpenVLAConfig
from vlasteer.policies.openvla.images import ImageProcessor
from vlasteer.policies.openvla.libero_images import centre_crop, jpeg_round_trip, lanczos_resize, libero_image, rotate


def processor(folder: Path) -> ImageProcessor:
    return ImageProcessor.read(folder, OpenVLAConfig.read(folder))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pixels_are_resized_stacked_and_normalised(openvla_tiny: Path) -> None:
    pixels = processor(openvla_tiny)(np.full((100, 60, 3), 128, np.uint8))
    assert pixels.shape == (6, 224, 224)
    assert pixels.dtype == torch.float32
    dino_red = (128 / 255 - 0.484375) / 0.228515625
    assert torch.allclose(pixels[0], torch.tensor(dino_red), atol=1e-6)
    assert torch.allclose(pixels[3:], torch.tensor((128 / 255 - 0.5) / 0.5), atol=1e-6)


def test_an_image_of_the_right_size_is_not_resampled(openvla_tiny: Path) -> None:
    frame = noise(224, 224)
    pixels = processor(openvla_tiny)(frame)
    assert np.array_equal(np.rint((pixels[3:].numpy() * 0.5 + 0.5) * 255), frame.transpose(2, 0, 1))


def test_a_view_with_negative_strides_is_read_as_it_looks(openvla_tiny: Path) -> None:
    frame = noise(256, 256)
    make = processor(openvla_tiny)
    assert torch.equal(make(frame[::-1, ::-1]), make(rotate(frame)))


def test_a_letterboxed_image_keeps_its_aspect(checkpoint_v01: Path) -> None:
    make = processor(checkpoint_v01)
    wide = make(np.full((100, 200, 3), 255, np.uint8)).numpy() * 0.5 + 0.5
    assert wide.shape == (3, 224, 224)
    rows = wide[0].mean(axis=1)
    assert np.allclose(rows[:50], 127 / 255, atol=1e-3)  # the border, in the mean's grey
    assert np.allclose(rows[60:164], 1.0, atol=1e-3)
    assert np.allclose(rows[-50:], 127 / 255, atol=1e-3)
    square = noise(224, 224)
    assert np.array_equal(np.rint((make(square).numpy() * 0.5 + 0.5) * 255), square.transpose(2, 0, 1))


# -- LIBERO ------------------------------------------------------------------------------------------------------------
def test_rotation_turns_by_180_degrees() -> None:
    frame = noise(3, 4)
    assert np.array_equal(rotate(frame)[0, 0], frame[-1, -1])
    assert np.array_equal(rotate(rotate(frame)), frame)


def test_jpeg_changes_little_of_a_smooth_picture() -> None:
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    round_trip = jpeg_round_trip(ramp)
    assert round_trip.shape == ramp.shape
    assert np.abs(round_trip.astype(int) - ramp).max() <= 4


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 255))
def test_a_plain_picture_stays_plain(height: int, width: int, grey: int) -> None:
    plain = np.full((height, width, 3), grey, np.uint8)
    assert np.all(lanczos_resize(plain) == grey)
    assert lanczos_resize(plain).shape == (224, 224, 3)
    assert np.all(centre_crop(plain) == grey)
    assert centre_crop(plain).shape == plain.shape


def test_lanczos_shrinks_as_pil_does_but_in_float() -> None:
    frame = noise(256, 256)
    pil = np.asarray(Image.fromarray(frame).resize((224, 224), Image.Resampling.LANCZOS))
    assert np.abs(lanczos_resize(frame).astype(int) - pil).mean() < 1


def test_the_crop_is_central_and_keeps_its_area() -> None:
    ramp = np.repeat(np.arange(224, dtype=np.uint8)[:, None, None], 224, 1).repeat(3, 2)
    column = centre_crop(ramp)[:, 0, 0].astype(int)
    margin = (1 - np.sqrt(0.9)) / 2 * 223
    assert column[0] == pytest.approx(margin, abs=1)
    assert column[-1] == pytest.approx(223 - margin, abs=1)
    assert column[111] + column[112] == pytest.approx(223, abs=1)


def test_the_whole_path_is_its_stages() -> None:
    frame = noise(256, 256)
    assert np.array_equal(libero_image(frame), centre_crop(lanczos_resize(jpeg_round_trip(frame))))
