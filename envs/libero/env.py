"""LIBERO for Gymnasium: `vlasteer/Libero-v0`."""

from __future__ import annotations

from typing import Any

from vlasteer.envs.libero import make
from vlasteer.envs.world_env import WorldEnv


class LiberoEnv(WorldEnv):
    """One task of one suite; see `WorldEnv` for spaces, episodes and `info`.

    Args:
        suite: "libero_spatial", "libero_object", "libero_goal", "libero_10" or "libero_90".
        task: index of the task in the suite.
        render_mode: "rgb_array", or None.
        options: those of `LiberoWorld`: `assets`, `resolution`, `horizon`, `fast`.
    """

    def __init__(
        self, suite: str = "libero_goal", task: int = 0, render_mode: str | None = None, **options: Any
    ) -> None:
        world = make(suite, **options)
        super().__init__(world, size=(world.resolution, world.resolution), task=task, render_mode=render_mode)
