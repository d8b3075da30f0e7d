"""What LIBERO's tests share: the assets, and worlds that render cheaply."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vlasteer.envs.libero import LiberoWorld, make


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    """LIBERO and what it runs on are optional."""
    for package in ("libero", "robosuite", "bddl"):
        if importlib.util.find_spec(package) is None:  # importing them here would leave their traces
            pytest.skip(f"the optional package '{package}' is not installed")


@pytest.fixture(scope="session")
def assets(shared: Path) -> Path:
    """The shared folder that holds `assets/`."""
    return shared / "libero"


MakeWorld = Callable[..., LiberoWorld]


@pytest.fixture
def world_of(assets: Path) -> Iterator[MakeWorld]:
    """Makes worlds with small pictures and fast rendering, and closes them."""
    made = []

    def build(suite: str = "libero_goal", **options: Any) -> LiberoWorld:
        made.append(make(suite, **{"assets": assets, "resolution": 48, "fast": True, **options}))
        return made[-1]

    yield build
    for world in made:
        world.close()
