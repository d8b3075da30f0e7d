"""What the world that a policy is evaluated in asks of it: whose statistics, and which image path."""

from __future__ import annotations

import warnings
from collections.abc import Collection

from vlasteer.policies.openvla.conventions import known_convention


def key_for_world(keys: Collection[str], world: str) -> str | None:
    """The data set for a world: the one of its name, `<name>_no_noops`, or the only one of the same convention.

    The last comes with a warning. None where that leaves the choice open.
    """
    for name in (world, f"{world}_no_noops"):
        if name in keys:
            return name
    convention = known_convention(world)
    same = [key for key in keys if convention is not None and known_convention(key) == convention]
    if len(same) != 1:
        return None
    warnings.warn(
        f"the checkpoint has no statistics of '{world}'; its actions are un-normalised with those of '{same[0]}', the "
        "only ones of the same convention",
        stacklevel=2,
    )
    return same[0]


def image_path_for_world(world: str) -> str:
    """LIBERO's evaluation path for its suites, else none: the world's frames are what the policy sees."""
    return "libero" if world.startswith("libero") else "plain"
