"""Demonstrations: reproducible, shareable among processes, rightly labelled, and of the side that was asked for."""

from __future__ import annotations

import numpy as np

from vlasteer.envs.tabletop.demonstrations import Demonstration, demonstrate
from vlasteer.envs.tabletop.language import MANNER_WORDS
from vlasteer.envs.tabletop.manner import MANNERS
from vlasteer.envs.tabletop.scene import CAMERAS
from vlasteer.envs.tabletop.splits import HELD_OUT, TRAIN
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of


def _same(one: Demonstration, other: Demonstration) -> None:
    assert (one.episode, one.step, one.task, one.manner, one.instruction) == (
        *(other.episode, other.step, other.task, other.manner, other.instruction),
    )
    np.testing.assert_array_equal(one.actions, other.actions)
    np.testing.assert_array_equal(one.state, other.state)
    for name in one.images:
        np.testing.assert_array_equal(one.images[name], other.images[name])


def test_shares_of_a_range_are_the_range() -> None:
    whole = list(demonstrate(range(3), resolution=32, seed=4, kinds=list(TaskKind)))
    shares = [d for i in (2, 0, 1) for d in demonstrate([i], resolution=32, seed=4, kinds=list(TaskKind))]
    shares.sort(key=lambda d: (d.episode, d.step))
    assert len(whole) == len(shares) > 20
    for one, other in zip(whole, shares, strict=True):
        _same(one, other)


def test_what_a_step_holds() -> None:
    seen = list(demonstrate(range(4), resolution=32))
    for d in seen:
        assert set(d.images) == set(CAMERAS)
        assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 for image in d.images.values())
        assert d.state.shape == (8,)
        assert d.actions.shape == (len(MANNERS), 7)
        assert np.all(np.abs(d.actions) <= 1)
        np.testing.assert_array_equal(d.action, d.actions[MANNERS.index(d.manner)])
        said = set(d.instruction.split())
        for concept, words in MANNER_WORDS.items():
            assert bool(said & set(words)) is (concept in d.manner.concepts)
        assert d.task.colour in said
    assert {d.episode for d in seen} == {0, 1, 2, 3}


def test_actions_of_all_manners_differ_as_manners_do() -> None:
    lengths = np.array([np.linalg.norm(d.actions[:, :3], axis=1) for d in demonstrate(range(6), cameras=())])
    slow, normal, fast = lengths.reshape(-1, 3, 3).mean((0, 2))
    assert slow < normal < fast
    rises = np.array([d.actions[:, 2] for d in demonstrate(range(6), cameras=())]).reshape(-1, 3, 3).mean((0, 1))
    assert rises[0] < rises[1] < rises[2]


def test_the_side_is_kept() -> None:
    for split in (TRAIN, HELD_OUT):
        allowed = set(tasks_of(TaskKind.TRANSPORT, split))
        assert {d.task for d in demonstrate(range(12), cameras=(), split=split)} <= allowed


def test_seeds_and_episodes_differ() -> None:
    starts = [next(demonstrate([i], cameras=(), seed=s)).state for i in range(3) for s in range(2)]
    assert len({tuple(state) for state in starts}) == len(starts)


def test_without_noise_the_path_is_the_experts() -> None:
    clean = [d.state[:3] for d in demonstrate([1], cameras=(), noise=0.0)]
    noisy = [d.state[:3] for d in demonstrate([1], cameras=(), noise=0.5)]
    np.testing.assert_array_equal(clean[0], noisy[0])
    assert not np.array_equal(clean[2], noisy[2])
