"""LIBERO, the benchmark of 130 manipulation tasks: a `World` for each of its five suites, and a Gymnasium environment.

    world.py       the benchmark's protocol as a `World`: initial states, settling, horizons, clipping, outcomes
    env.py         the same as the Gymnasium environment `vlasteer/Libero-v0`
    simulation.py  one episode in MuJoCo: building, seeding, cameras that render only when somebody looks
    suites.py      tasks, instructions, horizons, initial states
    assets.py      where meshes and textures are, and whether they are all there
    packages.py    importing robosuite and libero without their side effects; versions

Imports point downward in this list. `make` and `names` make this package a `vlasteer.protocols.WorldFamily`; neither
robosuite nor mujoco is imported before a world is reset for the first time.
"""

from __future__ import annotations

import inspect
from typing import Any

from vlasteer.envs.libero.packages import versions
from vlasteer.envs.libero.suites import HORIZONS
from vlasteer.envs.libero.world import LiberoWorld
from vlasteer.errors import UnknownNameError

__all__ = ["LiberoWorld", "make", "names", "versions"]


def names() -> tuple[str, ...]:
    """The suites."""
    return tuple(HORIZONS)


def make(name: str, **options: Any) -> LiberoWorld:
    """A world of the suite `name`; `options` are those of `LiberoWorld`.

    Raises:
        UnknownNameError: no such suite or option.
        AssetsError, MissingDependencyError, ConfigError: see `LiberoWorld`.
    """
    if name not in HORIZONS:
        raise UnknownNameError.among("LIBERO suite", name, HORIZONS)
    known = [p.name for p in inspect.signature(LiberoWorld).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UnknownNameError.among(f"option of {name}", option, known)
    return LiberoWorld(name, **options)
