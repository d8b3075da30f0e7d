"""Frames of an episode beside each other, as JPEG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

COLUMNS = 7
WIDTH = 1520
"""Pixels of a strip; frames are scaled to fit, never up by more than 2."""
_GAP = 6
_QUALITY = 82


def moments(lengths: Sequence[int], columns: int = COLUMNS) -> list[int]:
    """Steps at which frames are taken: evenly over the longest episode, first and last included."""
    longest = max(lengths)
    return sorted({round(k) for k in np.linspace(0, longest - 1, min(columns, longest))})


def faded(frame: Frame) -> Frame:
    """A pale version: the last frame of an episode that has ended."""
    return (0.35 * frame + 0.65 * 255).astype(np.uint8)


def strip(frames: Sequence[Frame | None]) -> bytes:
    """Frames side by side; None (the episode had ended) leaves a pale field. All must have the same shape."""
    from PIL import Image

    first = next(frame for frame in frames if frame is not None)
    columns = len(frames)
    width = min((WIDTH - _GAP * (columns - 1)) // columns, 2 * first.shape[1])
    height = round(first.shape[0] * width / first.shape[1])
    sheet = Image.new("RGB", (columns * width + (columns - 1) * _GAP, height), (255, 255, 255))
    blank = Image.new("RGB", (width, height), (241, 243, 245))
    for j, frame in enumerate(frames):
        scaled = blank
        if frame is not None:
            scaled = Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(scaled, (j * (width + _GAP), 0))
    packed = io.BytesIO()
    sheet.save(packed, "JPEG", quality=_QUALITY, optimize=True)
    return packed.getvalue()
