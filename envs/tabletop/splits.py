"""What is held out of training: combinations, positions, shades, phrasings. And seeds, which are always apart.

Nano policies are trained on demonstrations from this world and evaluated in it. Every axis below has a training side
and a held-out side; a `Split` is the set of axes that are drawn from the held-out side.

    TRAIN      frozenset(): nothing held out is ever drawn
    HELD_OUT   all four axes held out, for evaluation
    frozenset({Axis.POSITIONS})   only the positions are new, to see which axis costs success

Episodes of `TRAIN` and of any other split never share a layout, whatever their seeds: their generators are seeded apart
(`layout.draw_layout`), so there is no need to keep a list of used seeds. Held-out instructions use only words that
occur in training (`language.vocabulary`), in combinations that do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

import numpy as np

from vlasteer.errors import UnknownNameError


class Axis(StrEnum):
    """One way in which an episode can differ from every training episode."""

    PAIRS = "pairs"
    """Combinations: cube and bin, cube and direction, cube and neighbour. Every colour is known, the pair is not."""
    POSITIONS = "positions"
    """Where objects, bins and the hand start: cells of the table that training leaves empty, amid those it uses."""
    SHADES = "shades"
    """How bright a colour is: darker and lighter than in training."""
    PHRASINGS = "phrasings"
    """Combinations of verb, noun and sentence frame."""


Split = frozenset[Axis]
TRAIN: Split = frozenset()
HELD_OUT: Split = frozenset(Axis)

CELL_M = 0.03
"""Edge of the cells that positions are split by."""
TRAIN_SHADES = ((0.92, 1.08),)
HELD_OUT_SHADES = ((0.78, 0.86), (1.14, 1.22))
"""Brightness factors, as ranges."""


def parse_split(names: str | Iterable[str]) -> Split:
    """A split from "train", "held_out", or names of axes ("positions,phrasings" or a sequence).

    Raises:
        UnknownNameError: a name that is no axis.
    """
    if names == "train":
        return TRAIN
    if names == "held_out":
        return HELD_OUT
    parts = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    for part in parts:
        if part not in list(Axis):
            raise UnknownNameError.among("split", part, ("train", "held_out", *Axis))
    return frozenset(Axis(part) for part in parts)


def is_held_out_position(x: float, y: float) -> bool:
    """Whether the table position (m) lies in a held-out cell: every fifth, no two of them side by side."""
    return (math.floor(x / CELL_M) + 2 * math.floor(y / CELL_M)) % 5 == 0


def draw_shade(rng: np.random.Generator, split: Split) -> float:
    """A brightness factor from the split's side."""
    ranges = HELD_OUT_SHADES if Axis.SHADES in split else TRAIN_SHADES
    low, high = ranges[int(rng.integers(len(ranges)))]
    return float(rng.uniform(low, high))
