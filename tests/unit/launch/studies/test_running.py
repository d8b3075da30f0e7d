"""Cells of a study: rows of one batch, pairs by episode, resumption, and the same observations for every condition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys import ToyPolicy, ToyWorld

from vlasteer.anatomy import Neuron
from vlasteer.comparison import EpisodeMotion
from vlasteer.errors import ConfigError, InputError
from vlasteer.launch.studies.counterfactual import Seen, answer, watch
from vlasteer.launch.studies.running import run_conditions
from vlasteer.steering import Feature
from vlasteer.studies import Condition
from vlasteer.studies.archive import MotionArchive
from vlasteer.types import EpisodeKey, Outcome

FAST = Feature.of("fast", [Neuron("vlm", 1, i) for i in range(8)])
SLOW = Feature.of("slow", [Neuron("vlm", 0, i) for i in range(8)])
KEYS = [EpisodeKey(i % 2, i // 2, 3) for i in range(5)]
CONDITIONS = [
    Condition("none"),
    Condition("none again"),
    Condition("fast", {"fast": 5.0}),
    Condition("say", {}, "fast"),
]


class World(ToyWorld):
    state_names = ("eef_x", "eef_y", "eef_z")


def words(key: EpisodeKey, adverb: str | None) -> str:
    return f"task {key.task} {adverb or ''}".strip()


def run(rows: int = 3, **options) -> dict[str, list[EpisodeMotion]]:
    worlds = [World() for _ in range(rows)]
    return run_conditions(ToyPolicy(), worlds, CONDITIONS, [FAST, SLOW], KEYS, words=words, **options)


def test_every_condition_has_every_episode_and_rows_do_not_matter() -> None:
    counted: list[int] = []
    found = run(progress=counted.append)
    assert list(found) == [condition.name for condition in CONDITIONS]
    assert all([motion.key for motion in motions] == KEYS for motions in found.values())
    assert sum(counted) == len(CONDITIONS) * len(KEYS)
    for name, motions in run(rows=1).items():
        for one, other in zip(motions, found[name], strict=True):
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-6)
    # The toy reads no words: without steering nothing differs, with it something does.
    for same in ("none again", "say"):
        assert all(np.array_equal(a.positions, b.positions) for a, b in zip(found["none"], found[same], strict=True))
    assert not np.allclose(found["none"][0].commanded[:3], found["fast"][0].commanded[:3])


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    archive = MotionArchive(tmp_path / "episodes.jsonl")
    first = run(keep=archive.keep)
    again = MotionArchive(tmp_path / "episodes.jsonl")
    assert len(again.motions) == len(CONDITIONS) * len(KEYS)
    kept: list[EpisodeMotion] = []
    second = run(known=again.motions[:-3], keep=kept.append)
    assert len(kept) == 3
    for name in first:
        for one, other in zip(first[name], second[name], strict=True):
            assert (one.key, one.outcome, one.tokens, one.rate_hz) == (other.key, other.outcome, other.tokens, 20.0)
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-6)


def test_a_line_cut_by_a_crash_is_dropped_and_another_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    archive = MotionArchive(path)
    motion = EpisodeMotion("x", EpisodeKey(0, 1, 2), Outcome.SUCCESS, np.ones((3, 3)), np.ones((3, 3)), 7, 1)
    archive.keep(motion)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    resumed = MotionArchive(path)
    resumed.keep(motion)
    assert [m.key for m in MotionArchive(path).motions] == [motion.key] * 2
    path.write_bytes(whole[:-5] + b"\n" + whole)
    with pytest.raises(InputError, match="line 1"):
        MotionArchive(path)


def test_bad_conditions() -> None:
    world, policy = World(), ToyPolicy()
    for conditions in ([Condition("a"), Condition("a")], [Condition("a", {"up": 1.0})]):
        with pytest.raises(ConfigError):
            run_conditions(policy, [world], conditions, [FAST], KEYS, words=words)


def test_the_same_observations_are_answered_under_every_condition() -> None:
    policy, world = ToyPolicy(), World()
    seen = watch(policy, [world, World()], KEYS, words=words, most=2)
    assert [one.key for one in seen] == KEYS
    assert all(1 <= len(one.observations) <= 2 and one.observations[0].images for one in seen)
    found = answer(policy, world.action_spec, CONDITIONS, [FAST], seen, words=words, replan=1, rows=2)
    assert list(found) == [condition.name for condition in CONDITIONS]
    expected = 0.05 * policy.act(seen[0].observations[0]).actions[0, :3]
    np.testing.assert_allclose(found["none"][0].commanded[0], expected, atol=1e-6)
    assert np.array_equal(found["none"][0].commanded, found["none again"][0].commanded)
    assert not np.allclose(found["none"][0].commanded, found["fast"][0].commanded)
    with pytest.raises(InputError):
        answer(policy, world.action_spec, CONDITIONS, [FAST], list[Seen](), words=words)
