"""Worlds that worker processes build by name: well-behaved and otherwise. Importable in a child, hence a module."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from toys import ToyWorld

from vlasteer.errors import ConfigError, ConventionError, UnknownNameError
from vlasteer.types import EpisodeKey


class CheckedWorld(ToyWorld):
    """A toy world that refuses nonsense, says something for the record, and counts what it is asked."""

    def __init__(self, name: str, horizon: int = 20, pause_s: float = 0.0, noted: str = "") -> None:
        super().__init__(horizon)
        self.name, self.pause_s, self.noted = name, pause_s, noted
        self.facts = {"horizon": horizon}

    def reset(self, key: EpisodeKey) -> None:
        if not 0 <= key.task < len(self.tasks):
            raise ConfigError(f"task {key.task} does not exist", expected="0 or 1")
        super().reset(key)

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        if action.shape != (self.action_spec.size,):
            raise ConventionError(f"an action of shape {action.shape}", expected=f"[{self.action_spec.size}]")
        if not np.isfinite(action).all():
            raise ConventionError("the action contains NaN", expected="finite numbers", fix="Steer less")
        print("a world that prints")
        time.sleep(self.pause_s)
        return super().act(action, look=look)

    def close(self) -> None:
        super().close()
        if self.noted:
            Path(self.noted).write_text("closed", encoding="utf-8")


class BrokenWorld(CheckedWorld):
    """Fails in the way that the first number of an action says."""

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        if action[0] == 1:
            raise ZeroDivisionError("a defect")
        if action[0] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if action[0] == 3:
            sys.exit(7)
        if action[0] == 4:
            time.sleep(600)
        return super().act(action, look=look)


def make_checked(name: str, **options: Any) -> CheckedWorld:
    """Any name but "no-such-world"."""
    if name == "no-such-world":
        raise UnknownNameError.among("environment", name, ["such-world"])
    return CheckedWorld(name, **options)


def make_broken(name: str, **options: Any) -> BrokenWorld:
    """A world that breaks on demand."""
    return BrokenWorld(name, **options)


def make_never(name: str, **options: Any) -> CheckedWorld:
    """A world whose building ends the process."""
    os._exit(3)
