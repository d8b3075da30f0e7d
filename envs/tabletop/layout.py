"""Where things are at the start of an episode, and what colour they have: drawn from a seed, on one side of the
splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.tabletop.scene import HALF_BLOCK
from vlasteer.envs.tabletop.splits import TRAIN, Axis, Split, draw_shade, is_held_out_position
from vlasteer.envs.tabletop.tasks import BIN_COLOURS, COLOURS, DIRECTIONS, Task, TaskKind, neighbours
from vlasteer.errors import InputError, WorldError

RGB = {
    "red": (0.80, 0.13, 0.12),
    "green": (0.15, 0.55, 0.25),
    "blue": (0.13, 0.32, 0.74),
    "yellow": (0.90, 0.74, 0.15),
    "purple": (0.50, 0.25, 0.62),
    "orange": (0.90, 0.43, 0.10),
}
"""At brightness 1."""

Box = tuple[tuple[float, float], tuple[float, float]]  # ((x low, x high), (y low, y high)), m

_BIN_X, _BIN_Y, _BIN_JITTER = (0.58, 0.68), (-0.23, 0.0, 0.23), 0.035
_OBJECTS: Box = ((0.32, 0.47), (-0.25, 0.25))
_HAND: Box = ((0.34, 0.46), (-0.22, 0.22))
_PUSHED: dict[str, Box] = {
    "left": ((0.34, 0.46), (-0.18, 0.06)),
    "right": ((0.34, 0.46), (-0.06, 0.18)),
    "forward": ((0.33, 0.37), (-0.20, 0.20)),
}
_HELD_HEIGHT, _HAND_HEIGHT = (0.065, 0.095), (0.10, 0.13)
_APART = 0.10
"""Between the centres of objects, so that the open gripper fits over each."""
_AWAY = 0.12
"""Between the hand's start and the cube that it has to reach for, so that there is a way to travel."""
_CORRIDOR: Box = ((-0.16, 0.22), (-0.085, 0.085))
"""Kept free about a cube that is to be pushed: along the direction, and across."""
_YAW = 0.12
"""Largest turn of an object, rad: what parallel fingers straighten."""
_TRIES = 2000


@dataclass(frozen=True)
class Layout:
    """The start of an episode.

    Attributes:
        task: what is to be done; its cube is object 0.
        objects: float64 [3, 3] x, y (m) and yaw (rad) of the two cubes and the cylinder.
        colours: names of their colours, all different.
        object_rgb: float64 [3, 3] in 0..1.
        bins: float64 [3, 2] centres of the bins, m, from right to left.
        bin_colours: names of their colours, all different.
        bin_rgb: float64 [3, 3] in 0..1.
        hand: float64 [3] where the pinch point starts, m.
        holding: whether the gripper holds object 0 at the start (then `objects[0]` only says its yaw).
    """

    task: Task
    objects: NDArray[np.float64]
    colours: tuple[str, ...]
    object_rgb: NDArray[np.float64]
    bins: NDArray[np.float64]
    bin_colours: tuple[str, ...]
    bin_rgb: NDArray[np.float64]
    hand: NDArray[np.float64]

    @property
    def holding(self) -> bool:
        return self.task.kind is TaskKind.TRANSPORT

    @property
    def goal(self) -> NDArray[np.float64]:
        """float64 [2]: centre of the task's bin, direction of the push, or zeros."""
        if self.task.kind is TaskKind.TRANSPORT:
            return self.bins[self.bin_colours.index(self.task.goal)]
        return np.array(DIRECTIONS.get(self.task.goal, (0.0, 0.0)))


def draw_layout(task: Task, split: Split, start: int, seed: int) -> Layout:
    """The layout that the arguments determine. `TRAIN` and every other split never share one.

    Raises:
        InputError: a negative start or seed.
        WorldError: no arrangement was found (it does not happen with the regions above; 2,000 are tried).
    """
    if start < 0 or seed < 0:
        raise InputError(f"start {start} and seed {seed} of a layout", expected="numbers that are not negative")
    identity = [list(TaskKind).index(task.kind), COLOURS.index(task.colour), _goal_index(task)]
    rng = np.random.default_rng([0 if split == TRAIN else 1, *identity, start, seed])
    for _ in range(_TRIES):
        bins = np.array([_position(rng, (_BIN_X, (y - _BIN_JITTER, y + _BIN_JITTER)), split) for y in _BIN_Y])
        hand = _position(rng, _HAND, split)
        cube = hand if task.kind is TaskKind.TRANSPORT else _position(rng, _PUSHED.get(task.goal, _OBJECTS), split)
        places = np.array([cube, *(_position(rng, _OBJECTS, split) for _ in range(2))])
        if _fits(task, places, hand):
            break
    else:
        raise WorldError(f"no room for the objects of {task} in {_TRIES} tries", fix="Report this with its seed")
    heights = _HELD_HEIGHT if task.kind is TaskKind.TRANSPORT else _HAND_HEIGHT
    yaw = rng.uniform(-_YAW, _YAW, 3)
    if task.kind is TaskKind.TRANSPORT:
        yaw[0] = 0.0  # between the fingers
    colours, bin_colours = _colours(rng, task, split)
    return Layout(
        task=task,
        objects=np.column_stack([places, yaw]),
        colours=colours,
        object_rgb=_rgb(rng, colours, split),
        bins=bins,
        bin_colours=bin_colours,
        bin_rgb=_rgb(rng, bin_colours, split),
        hand=np.array([*hand, rng.uniform(*heights)]),
    )


def _goal_index(task: Task) -> int:
    return [*BIN_COLOURS, *DIRECTIONS, ""].index(task.goal)


def _position(rng: np.random.Generator, box: Box, split: Split) -> NDArray[np.float64]:
    (x_low, x_high), (y_low, y_high) = box
    while True:  # a fifth of all cells is held out, and every box holds cells of both sides
        x, y = rng.uniform((x_low, y_low), (x_high, y_high))
        if is_held_out_position(x, y) == (Axis.POSITIONS in split):
            return np.array([x, y])


def _fits(task: Task, places: NDArray[np.float64], hand: NDArray[np.float64]) -> bool:
    gaps = np.linalg.norm(places[[0, 0, 1]] - places[[1, 2, 2]], axis=1)
    if np.any(gaps < _APART):
        return False
    if task.kind is TaskKind.TRANSPORT:
        return True
    if task.kind is TaskKind.LIFT:
        return bool(np.linalg.norm(hand - places[0]) >= _AWAY)
    direction = np.array(DIRECTIONS[task.goal])
    behind = places[0] - direction * 3 * HALF_BLOCK
    along = (places[1:] - places[0]) @ direction
    across = (places[1:] - places[0]) @ np.array([-direction[1], direction[0]])
    (back, front), (right, left) = _CORRIDOR
    blocked = (along > back) & (along < front) & (across > right) & (across < left)
    return not np.any(blocked) and bool(np.linalg.norm(hand - behind) >= _AWAY)


def _colours(rng: np.random.Generator, task: Task, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the objects and of the bins; the task's bin may be any of the three."""
    possible = neighbours(task, split)
    other = possible[int(rng.integers(len(possible)))]
    rest = [colour for colour in COLOURS if colour not in (task.colour, other)]
    third = rest[int(rng.integers(len(rest)))]
    bins = [str(colour) for colour in rng.permutation(BIN_COLOURS)][:3]
    if task.goal in BIN_COLOURS and task.goal not in bins:
        bins[int(rng.integers(3))] = task.goal
    return (task.colour, other, third), tuple(bins)


def _rgb(rng: np.random.Generator, names: tuple[str, ...], split: Split) -> NDArray[np.float64]:
    return np.clip([np.array(RGB[name]) * draw_shade(rng, split) for name in names], 0.0, 1.0)
