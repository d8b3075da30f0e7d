"""The tasks: transport, lift, push. What each asks for, which combinations exist, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.tabletop.scene import BIN_HEIGHT, BIN_INNER, HALF_BLOCK
from vlasteer.envs.tabletop.splits import Axis, Split

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
"""Of cubes and of the cylinder."""
BIN_COLOURS = ("red", "green", "blue", "yellow")
DIRECTIONS = {"left": (0.0, 1.0), "right": (0.0, -1.0), "forward": (1.0, 0.0)}
"""Seen from the robot, as unit vectors in the table's plane."""

LIFT_M = 0.08
"""How far a cube has to be raised."""
PUSH_M = 0.10
"""How far a cube has to be pushed."""
PUSH_ASIDE_M = 0.06
"""How far it may stray to the side meanwhile."""
RELEASED_M = HALF_BLOCK + 0.005
"""Half opening of the gripper beyond which it holds no cube."""


class TaskKind(StrEnum):
    """What is to be done with the cube."""

    TRANSPORT = "transport"
    """Carry the cube, which the gripper holds at the start, to a bin and let it go there."""
    LIFT = "lift"
    """Reach for the cube, grasp it and raise it."""
    PUSH = "push"
    """Push the cube over the table in a direction."""


@dataclass(frozen=True)
class Task:
    """One instruction's content.

    Attributes:
        kind: what is to be done.
        colour: of the cube, one of `COLOURS`.
        goal: colour of the bin (transport), name of the direction (push), "" (lift).
    """

    kind: TaskKind
    colour: str
    goal: str = ""


_HELD_OUT_PAIRS: dict[TaskKind, set[tuple[str, str]]] = {
    TaskKind.TRANSPORT: {
        ("orange", "red"),
        ("purple", "green"),
        ("yellow", "blue"),
        ("blue", "yellow"),
        ("green", "red"),
    },
    TaskKind.PUSH: {("red", "left"), ("blue", "forward"), ("yellow", "right"), ("purple", "left")},
    TaskKind.LIFT: set(),
}


def tasks_of(kind: TaskKind, split: Split) -> tuple[Task, ...]:
    """All tasks of a kind on the split's side of `Axis.PAIRS`, in a fixed order.

    Lifting has a task per colour on both sides; there the pair is the cube and its neighbour (`neighbours`).
    """
    goals = {TaskKind.TRANSPORT: BIN_COLOURS, TaskKind.PUSH: tuple(DIRECTIONS), TaskKind.LIFT: ("",)}[kind]
    wanted = Axis.PAIRS in split and kind is not TaskKind.LIFT
    return tuple(
        Task(kind, colour, goal)
        for colour in COLOURS
        for goal in goals
        if colour != goal and ((colour, goal) in _HELD_OUT_PAIRS[kind]) == wanted
    )


def neighbours(task: Task, split: Split) -> tuple[str, ...]:
    """Colours that the other cube may have."""
    others = tuple(colour for colour in COLOURS if colour != task.colour)
    if task.kind is not TaskKind.LIFT:
        return others
    held_out = COLOURS[(COLOURS.index(task.colour) + 1) % len(COLOURS)]
    return (held_out,) if Axis.PAIRS in split else tuple(colour for colour in others if colour != held_out)


@dataclass(frozen=True)
class Snapshot:
    """Everything in the scene that tasks and the expert look at; privileged, no policy sees it.

    Attributes:
        tcp: float64 [3] position of the pinch point, m.
        opening: half opening of the gripper, m.
        objects: float64 [3, 3] centres of the two cubes and the cylinder, m; `objects[0]` is the task's cube.
        start: float64 [2] where the task's cube was at the start, m.
        goal: float64 [2] centre of the task's bin (m; transport), unit vector of the direction (push), zeros (lift).
    """

    tcp: NDArray[np.float64]
    opening: float
    objects: NDArray[np.float64]
    start: NDArray[np.float64]
    goal: NDArray[np.float64]


def succeeded(kind: TaskKind, now: Snapshot) -> bool:
    """Whether the task is done.

    transport: the cube lies below the rim inside the right bin, and the gripper has let go of it.
    lift: the cube is raised by `LIFT_M` and between the fingers.
    push: it has moved by `PUSH_M` in the direction, strayed by at most `PUSH_ASIDE_M`, and lies on the table.
    """
    cube = now.objects[0]
    if kind is TaskKind.TRANSPORT:
        inside = bool(np.all(np.abs(cube[:2] - now.goal) < BIN_INNER)) and cube[2] < BIN_HEIGHT
        return inside and (now.opening > RELEASED_M or float(np.linalg.norm(cube - now.tcp)) > 2 * HALF_BLOCK)
    if kind is TaskKind.LIFT:
        return bool(cube[2] > HALF_BLOCK + LIFT_M) and float(np.linalg.norm(cube - now.tcp)) < 1.5 * HALF_BLOCK
    moved = cube[:2] - now.start
    along = float(moved @ now.goal)
    aside = float(np.linalg.norm(moved - along * now.goal))
    return along >= PUSH_M and aside <= PUSH_ASIDE_M and bool(cube[2] < 1.5 * HALF_BLOCK)
