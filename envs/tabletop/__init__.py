"""A UR5e at a table, for MuJoCo: our own world, which needs nothing to be downloaded and runs on a laptop.

    world.py           the `World`: tasks, episodes, outcomes
    env.py             the same as the Gymnasium environment `vlasteer/UR5eTabletop-v0`
    demonstrations.py  the expert's episodes as training data for nano policies
    expert.py          the scripted expert, in nine manners
    simulation.py      the physics, 20 Hz, end-effector deltas
    rendering.py       the pictures
    layout.py          where things are at the start, drawn from a seed
    language.py        what the tasks and manners are called
    tasks.py           transport, lift, push: goals, combinations, success
    splits.py          what is held out of training
    manner.py          speed and height, three levels each
    scene.py           table, bins, objects, lights, cameras as MJCF
    gripper.py, arm.py the gripper; the UR5e from its DH table alone

Imports point downward in this list. `names` and `make` make this package a `vlasteer.protocols.WorldFamily`; mujoco is
not imported before a world is made.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from vlasteer.errors import UnknownNameError

if TYPE_CHECKING:
    from vlasteer.envs.tabletop.world import TabletopWorld

__all__ = ["make", "names"]

_KINDS = {
    "tabletop": ("transport", "lift", "push"),
    "tabletop_transport": ("transport",),
    "tabletop_lift": ("lift",),
    "tabletop_push": ("push",),
}


def names() -> tuple[str, ...]:
    """One world for each kind of task, and one of all."""
    return tuple(_KINDS)


def make(name: str, **options: Any) -> TabletopWorld:
    """The world `name`; `options` are those of `TabletopWorld`.

    Raises:
        UnknownNameError: no such world or option.
        ConfigError: see `TabletopWorld`.
    """
    if name not in _KINDS:
        raise UnknownNameError.among("tabletop world", name, _KINDS)
    from vlasteer.envs.tabletop.tasks import TaskKind
    from vlasteer.envs.tabletop.world import TabletopWorld

    known = [p.name for p in inspect.signature(TabletopWorld).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UnknownNameError.among(f"option of {name}", option, known)
    return TabletopWorld(name, [TaskKind(kind) for kind in _KINDS[name]], **options)
