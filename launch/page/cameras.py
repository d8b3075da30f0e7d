"""What the cameras see, side by side in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import viser

Image = NDArray[np.uint8]

HEIGHT = 200
"""Of the picture in the page, pixels."""
WIDEST = 3
"""Cameras in a row."""
_GAP = 4
_JPEG_QUALITY = 80


class Cameras:
    """One picture, sent as JPEG whenever a camera has another image."""

    def __init__(self, server: viser.ViserServer, names: Sequence[str]) -> None:
        self._names = tuple(names)
        server.gui.add_html(f'<div class="vl-plot"><b>cameras</b>{escape(", ".join(self._names))}</div>')
        blank = {name: np.full((HEIGHT, HEIGHT, 3), 28, np.uint8) for name in self._names or ("none",)}
        self._images = dict(blank)
        self._view = server.gui.add_image(mosaic(list(blank.values())), format="jpeg", jpeg_quality=_JPEG_QUALITY)

    def draw(self, images: Mapping[str, Image]) -> None:
        """Show images (uint8 [h, w, 3]); cameras that have none keep their last."""
        changed = False
        for name, image in images.items():
            if name in self._images and self._images[name] is not image:
                self._images[name] = image
                changed = True
        if changed:
            self._view.image = mosaic(list(self._images.values()))


def mosaic(images: Sequence[Image]) -> Image:
    """Images of any sizes as one of rows of `WIDEST`, each `HEIGHT` high, with a dark seam between them."""
    scaled = [_at_height(image) for image in images]
    rows = [scaled[i : i + WIDEST] for i in range(0, len(scaled), WIDEST)]
    width = max(sum(image.shape[1] for image in row) + _GAP * (len(row) - 1) for row in rows)
    whole = np.full((len(rows) * (HEIGHT + _GAP) - _GAP, width, 3), 28, np.uint8)
    for i, row in enumerate(rows):
        left = 0
        for image in row:
            top = i * (HEIGHT + _GAP)
            whole[top : top + HEIGHT, left : left + image.shape[1]] = image
            left += image.shape[1] + _GAP
    return whole


def _at_height(image: Image) -> Image:
    height, width = image.shape[:2]
    if height == HEIGHT:
        return image
    from PIL import Image as Pillow

    size = (max(round(width * HEIGHT / height), 1), HEIGHT)
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BILINEAR))
