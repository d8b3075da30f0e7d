"""From a camera frame to the pixels that the towers read, as preprocessor_config.json says.

The official processor is a torchvision pipeline over PIL images; the same PIL calls give its results bit for bit:
letterbox padding if asked for, bicubic resize, centre crop, and per tower its own normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from vlasteer.checkpoints import read_json
from vlasteer.errors import CheckpointError
from vlasteer.policies.openvla.config import OpenVLAConfig

_FILE = "preprocessor_config.json"
_BICUBIC = 3
"""torchvision's and PIL's number for it."""

_Geometry = tuple[tuple[int, int] | None, int, tuple[int, int]]


@dataclass(frozen=True)
class _TowerPixels:
    """How one tower's three channels are made; `shorter_side` stands for `size` where the aspect ratio is kept."""

    size: tuple[int, int] | None
    shorter_side: int
    crop: tuple[int, int]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @property
    def geometry(self) -> _Geometry:
        """All but the normalisation."""
        return self.size, self.shorter_side, self.crop


@dataclass(frozen=True)
class ImageProcessor:
    """Makes pixel values. Immutable; read it with `ImageProcessor.read`."""

    towers: tuple[_TowerPixels, ...]
    letterbox_fill: tuple[int, int, int] | None

    @classmethod
    def read(cls, folder: Path, config: OpenVLAConfig) -> ImageProcessor:
        """Parse `folder/preprocessor_config.json`.

        Raises:
            CheckpointError: it is missing, incomplete, or does not fit the towers.
        """
        document = read_json(folder, _FILE)
        where = str(folder / _FILE)
        parts = [
            _parse_list(document, where, name, len(config.towers))
            for name in ("tvf_resize_params", "tvf_crop_params", "tvf_normalize_params")
        ]
        towers = []
        for i, tower in enumerate(config.towers):
            resize, crop, normalize = (part[i] for part in parts)
            pixels = _parse_tower(resize, crop, normalize, f"{where}, tower {i}")
            if pixels.crop != (tower.image_size, tower.image_size):
                raise CheckpointError(
                    f"{where} makes images of {pixels.crop[1]} x {pixels.crop[0]} for tower '{tower.name}'",
                    expected=f"{tower.image_size} x {tower.image_size}, as config.json says",
                )
            towers.append(pixels)
        fill = document.get("tvf_letterbox_fill") if document.get("tvf_do_letterbox") else None
        return cls(tuple(towers), None if fill is None else (int(fill[0]), int(fill[1]), int(fill[2])))

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """uint8 [height, width, 3] RGB -> float32 [3 * towers, size, size]."""
        picture = Image.fromarray(np.ascontiguousarray(image))
        if self.letterbox_fill is not None:
            picture = _letterbox(picture, self.letterbox_fill)
        scaled: dict[_Geometry, NDArray[np.float32]] = {}  # towers that look at the same pixels share their resizing
        for tower in self.towers:
            if tower.geometry not in scaled:
                scaled[tower.geometry] = _channels(picture, tower)
        return torch.from_numpy(
            np.concatenate([(scaled[tower.geometry] - tower.mean) / tower.std for tower in self.towers])
        )


def _parse_list(document: Mapping[str, Any], where: str, name: str, count: int) -> list[Mapping[str, Any]]:
    items = document.get(name)
    if not isinstance(items, list) or len(items) != count or not all(isinstance(item, dict) for item in items):
        raise CheckpointError(f"{where}: field '{name}' is {items!r}", expected=f"a list of {count} objects")
    return items


def _parse_tower(
    resize: Mapping[str, Any], crop: Mapping[str, Any], normalize: Mapping[str, Any], where: str
) -> _TowerPixels:
    try:
        size = resize["size"]
        if resize["interpolation"] != _BICUBIC:
            raise ValueError(f"interpolation {resize['interpolation']} is not bicubic")
        mean, std = (np.asarray(normalize[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(std)) and np.all(std > 0)):
            raise ValueError("mean and std have to be finite, and std positive")
        crop_height, crop_width = crop["output_size"]
        if isinstance(size, int):
            return _TowerPixels(None, size, (crop_height, crop_width), mean, std)
        height, width = size
        return _TowerPixels((width, height), 0, (crop_height, crop_width), mean, std)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{where}: unusable image parameters ({type(error).__name__}: {error})",
            expected="size, interpolation 3, output_size, and mean and std of three channels",
        ) from error


def _letterbox(picture: Image.Image, fill: tuple[int, int, int]) -> Image.Image:
    width, height = picture.size
    longest = max(width, height)
    border = (int((longest - width) / 2), int((longest - height) / 2))
    return ImageOps.expand(picture, (*border, *border), fill)


def _channels(picture: Image.Image, tower: _TowerPixels) -> NDArray[np.float32]:
    """float32 [3, height, width] in [0, 1]."""
    resized = picture.resize(tower.size or _kept_aspect(picture.size, tower.shorter_side), Image.Resampling.BICUBIC)
    crop_height, crop_width = tower.crop
    left, top = round((resized.width - crop_width) / 2), round((resized.height - crop_height) / 2)
    cropped = resized.crop((left, top, left + crop_width, top + crop_height))
    return np.asarray(cropped, np.uint8).transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def _kept_aspect(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    width, height = size
    if width <= height:
        return shorter_side, int(shorter_side * height / width)
    return int(shorter_side * width / height), shorter_side
