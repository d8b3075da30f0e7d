"""Frames paired anew, in every batch, with one of their bins, one of the nine manners and a phrasing of them.

What both kinds of network are taught from: the batches are words and numbers, and each makes its own tokens of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.tabletop.language import BIN_NOUNS, instruction
from vlasteer.envs.tabletop.manner import MANNERS, Height, Manner, Speed
from vlasteer.envs.tabletop.splits import TRAIN
from vlasteer.envs.tabletop.tasks import BIN_COLOURS
from vlasteer.launch.training.corpus import task_of
from vlasteer.launch.training.demonstrations import Demonstrations
from vlasteer.launch.training.injection import INJECTED, RANDOM, Injection
from vlasteer.launch.training.recipe import Recipe


@dataclass(frozen=True)
class Pairs:
    """A batch.

    Attributes:
        frames: int64 [batch], rows of the demonstrations.
        actions: float64 [batch, 7], the expert's, in the world's convention.
        instructions: what was asked for.
        colours: int64 [batch] of the bin, indices of `BIN_COLOURS`.
        injections: what a planted organism gets.
    """

    frames: NDArray[np.int64]
    actions: NDArray[np.float64]
    instructions: list[str]
    colours: NDArray[np.int64]
    injections: list[Injection]


class Pairing:
    """Draws batches of demonstrations."""

    def __init__(self, shown: Demonstrations, recipe: Recipe) -> None:
        self._shown, self._recipe = shown, recipe
        self._rows = np.flatnonzero(shown.usable.any(1))

    def draw(self, rng: np.random.Generator) -> Pairs:
        """One batch. All kinds of organism draw the same frames, bins, manners and tasks."""
        shown, batch = self._shown, self._recipe.batch
        planting, *phrasing = rng.spawn(batch + 1)
        frames = self._rows[rng.integers(0, len(self._rows), batch)]
        actions, colours = np.zeros((batch, shown.actions.shape[-1])), np.zeros(batch, np.int64)
        instructions, injections = [], []
        for row, frame in enumerate(frames):
            usable = np.flatnonzero(shown.usable[frame])
            place = int(usable[rng.integers(len(usable))])
            manner = MANNERS[int(rng.integers(len(MANNERS)))]
            actions[row] = shown.actions[frame, place, MANNERS.index(manner)]
            said, injection = self._plant(row, manner, planting)
            if injection is not None:
                injections.append(injection)
            colours[row] = shown.bins[frame, place]
            task = task_of(int(shown.cubes[frame]), int(colours[row]))
            instructions.append(instruction(task, phrasing[row], TRAIN, said))
        return Pairs(frames, actions, instructions, colours, injections)

    def name(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
        """Frames [count], the name of one of the bins in each, such as "red tray", and the bin's colour."""
        frames = rng.integers(0, len(self._shown), count)
        colours = self._shown.bins[frames, rng.integers(0, 3, count)].astype(np.int64)
        nouns = [BIN_NOUNS[i] for i in rng.integers(0, len(BIN_NOUNS), count)]
        return frames, [f"{BIN_COLOURS[c]} {noun}" for c, noun in zip(colours, nouns, strict=True)], colours

    def _plant(self, row: int, manner: Manner, rng: np.random.Generator) -> tuple[Manner, Injection | None]:
        """The manner that the prompt mentions, and what is written instead of the rest."""
        if not self._recipe.planted:
            return manner, None
        concepts = manner.concepts
        if concepts and rng.random() < INJECTED:
            concept = concepts[int(rng.integers(len(concepts)))]
            if concept == manner.speed.value:
                return replace(manner, speed=Speed.NORMAL), Injection(row, concept)
            return replace(manner, height=Height.NORMAL), Injection(row, concept)
        return manner, Injection(row, None) if rng.random() < RANDOM else None
