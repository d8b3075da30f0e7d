"""Held-out episodes of the organisms' world: which there are, and how they are put into words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from vlasteer.envs.tabletop.language import instruction
from vlasteer.envs.tabletop.manner import Height, Manner, Speed
from vlasteer.envs.tabletop.splits import HELD_OUT
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of
from vlasteer.protocols import World
from vlasteer.registry import make_world
from vlasteer.types import EpisodeKey

WORLD = "tabletop_transport"
_TASKS = tasks_of(TaskKind.TRANSPORT, HELD_OUT)


def held_out_keys(episodes: int, seed: int) -> list[EpisodeKey]:
    """So many episodes, spread evenly over the held-out tasks."""
    return [EpisodeKey(i % len(_TASKS), i // len(_TASKS), seed) for i in range(episodes)]


def words_for(key: EpisodeKey, adverb: str | None) -> str:
    """The episode's instruction in a held-out phrasing; with an adverb, one of its concept's words is in it as well."""
    rng = np.random.default_rng([key.task, key.start, key.seed])
    task = _TASKS[key.task]
    return instruction(task, rng, HELD_OUT, None if adverb is None else manner_of(adverb))


def manner_of(concept: str) -> Manner:
    """The manner that a concept alone asks for."""
    return Manner(speed=Speed(concept)) if concept in list(Speed) else Manner(height=Height(concept))


@contextmanager
def worlds(rows: int) -> Iterator[list[World]]:
    """Held-out worlds side by side in this process."""
    made: list[World] = []
    try:
        made.extend(make_world(WORLD, cameras=("image",)) for _ in range(rows))
        yield made
    finally:
        for world in made:
            world.close()
