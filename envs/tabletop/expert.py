"""A scripted expert for every task, in every manner. It sees the privileged state and remembers nothing.

So any state can be labelled, also one that somebody else's actions led to, and with the action of every manner at once.
Speed scales the length of the steps; height is how high the hand travels. An arc is a height over the distance that is
left: far away the travel height, towards the end a square root down to the goal.
"""

from __future__ import annotations

import math

import numpy as np

from vlasteer.envs.tabletop.manner import Manner
from vlasteer.envs.tabletop.scene import BIN_HEIGHT, BIN_INNER, HALF_BLOCK
from vlasteer.envs.tabletop.simulation import ACTION_SPEC
from vlasteer.envs.tabletop.tasks import Snapshot, TaskKind
from vlasteer.kinematics import Vector

OPEN, CLOSED = -1.0, 1.0

_LONGEST = ACTION_SPEC.scale[0]  # m that an action of 1 asks for
_ARC = 0.22  # m before the goal where the descent begins
_STEEPEST = 1.6  # how fast it may rise or sink, in steps forward
_CLEAR = 0.07  # m over the table where fingers and a held cube pass over a cube or a rim
_RELEASE = BIN_HEIGHT + HALF_BLOCK + 0.01
_OVER = 0.012  # m to the side within which the hand is over its goal
_STAY = 0.02  # m to the side within which it goes on descending rather than up again
_EXACT = 0.005  # m of height that the hand has to hit before it closes or pushes
_GRASPED = HALF_BLOCK + 0.0035  # half opening on a cube that the fingers have closed on
_PUSH_HEIGHT = 0.018  # just below the cube's centre, or a fast push makes it tumble
_PUSH_FROM = HALF_BLOCK + 0.011 + 0.025  # m behind the cube's centre: half a cube, half a finger, some air


def expert_action(kind: TaskKind, now: Snapshot, manner: Manner) -> Vector:
    """float64 [7], within +-1, in the world's convention."""
    step = _LONGEST * manner.speed.share
    if kind is TaskKind.TRANSPORT:
        return _transport(now, step, manner.height.travel_m)
    if kind is TaskKind.LIFT:
        return _lift(now, step, manner.height.travel_m)
    return _push(now, step, manner.height.travel_m)


def _transport(now: Snapshot, step: float, travel: float) -> Vector:
    to_bin = now.goal - now.tcp[:2]
    if np.all(np.abs(now.objects[0][:2] - now.goal) < BIN_INNER) and not _holds(now):
        return _action(np.zeros(3), OPEN)
    if not _holds(now):
        return _reach(now, step, travel)
    if np.linalg.norm(to_bin) < _OVER and now.tcp[2] < _RELEASE + 0.01:
        return _action(np.zeros(3), OPEN)
    return _action(_arc(now.tcp, now.goal, _RELEASE, step, travel), CLOSED)


def _lift(now: Snapshot, step: float, travel: float) -> Vector:
    if not _holds(now):
        return _reach(now, step, travel)
    return _action(np.array([0.0, 0.0, step]), CLOSED)


def _push(now: Snapshot, step: float, travel: float) -> Vector:
    cube, direction = now.objects[0], now.goal
    offset = now.tcp[:2] - cube[:2]
    along = float(offset @ direction)
    aside = offset - along * direction
    behind = -2.5 * _PUSH_FROM < along < -HALF_BLOCK and np.linalg.norm(aside) < HALF_BLOCK
    if behind and now.tcp[2] < _PUSH_HEIGHT + _EXACT:
        way = direction * step - 0.5 * aside
        return _action(_limited(np.array([*way, _PUSH_HEIGHT - now.tcp[2]]), step), CLOSED)
    return _action(_arc(now.tcp, cube[:2] - direction * _PUSH_FROM, _PUSH_HEIGHT, step, travel), CLOSED)


def _reach(now: Snapshot, step: float, travel: float) -> Vector:
    """Travel over the cube, descend with open fingers, close them."""
    cube = now.objects[0]
    if np.linalg.norm(cube[:2] - now.tcp[:2]) < _OVER and abs(cube[2] - now.tcp[2]) < _EXACT:
        return _action(np.zeros(3), CLOSED)
    return _action(_arc(now.tcp, cube[:2], float(cube[2]), step, travel), OPEN)


def _arc(tcp: Vector, goal: Vector, end: float, step: float, travel: float) -> Vector:
    """The next displacement (m) on the arc that ends at height `end` over `goal`."""
    to_goal = goal - tcp[:2]
    left, low = float(np.linalg.norm(to_goal)), max(end, _CLEAR)
    if left < (_OVER if tcp[2] > low - _EXACT else _STAY):
        return _limited(np.array([*to_goal, end - tcp[2]]), step)
    height = low + (max(travel, low) - low) * math.sqrt(min(1.0, (left - _OVER) / _ARC))
    rise = height - float(tcp[2])
    if tcp[2] < low - _EXACT:
        return np.array([0.0, 0.0, min(rise, step)])  # first clear of what stands around, then sideways
    sideways = to_goal * (min(step, left) / left)
    return _limited(np.array([*sideways, np.clip(rise, -_STEEPEST * step, _STEEPEST * step)]), step)


def _limited(way: Vector, step: float) -> Vector:
    length = float(np.linalg.norm(way))
    return way * (step / length) if length > step else way


def _holds(now: Snapshot) -> bool:
    return now.opening < _GRASPED and float(np.linalg.norm(now.objects[0] - now.tcp)) < HALF_BLOCK


def _action(way: Vector, gripper: float) -> Vector:
    return np.clip(np.array([*(way / _LONGEST), 0.0, 0.0, 0.0, gripper]), -1.0, 1.0)
