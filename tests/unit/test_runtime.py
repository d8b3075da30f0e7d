"""The loop on toy worlds: batching, records, pairs, interruption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from toys import ToyPolicy, ToyWorld

from vlasteer.anatomy import Neuron
from vlasteer.errors import ConfigError, ConventionError
from vlasteer.runtime import LoopOptions, PlannedEpisode, run_episodes
from vlasteer.steering import Feature, Steering, steer
from vlasteer.types import EpisodeInfo, EpisodeKey, Outcome, StepRecord

FEATURE = Feature.of("fast", [Neuron("vlm", i, j) for i in range(3) for j in range(8)])


class Memory:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.info: EpisodeInfo | None = None
        self.records: list[StepRecord] = []
        self.outcome: Outcome | None = None

    def open(self, episode: EpisodeInfo) -> None:
        self.info = episode

    def step(self, record: StepRecord) -> None:
        self.records.append(record)

    def close(self, outcome: Outcome) -> None:
        self.outcome = outcome


def planned(index: int, start: int = 0, arm: str = "unsteered", **knobs: float) -> PlannedEpisode:
    return PlannedEpisode(EpisodeInfo(index, EpisodeKey(0, start, 7), "do it", arm, "toy", ToyWorld.action_spec), knobs)


def run(episodes: Sequence[PlannedEpisode], worlds: int, steering: bool = False, **options) -> list[Memory]:
    policy, memories = ToyPolicy(), []

    def sinks(_: PlannedEpisode) -> list[Memory]:
        memories.append(Memory())
        return [memories[-1]]

    places = [ToyWorld() for _ in range(worlds)]
    if not steering:
        run_episodes(policy, places, episodes, sinks=sinks, options=LoopOptions(**options))
        return memories
    with steer(policy, Steering.of(FEATURE, None), rows=worlds) as port:
        run_episodes(policy, places, episodes, sinks=sinks, port=port, options=LoopOptions(**options))
    return memories


def trajectory(memory: Memory) -> np.ndarray:
    return np.stack([r.executed for r in memory.records])


def test_records_tell_what_happened_in_order() -> None:
    (memory,) = run([planned(0)], 1, replan=2)
    assert [r.step for r in memory.records] == list(range(len(memory.records)))
    assert [r.chunk_step for r in memory.records[:4]] == [0, 1, 0, 1]
    assert [r.chunk for r in memory.records[:4]] == [0, 0, 1, 1]
    assert memory.records[0].observation.instruction == "do it"
    assert all(r.outcome is Outcome.RUNNING for r in memory.records[:-1])
    assert memory.outcome is memory.records[-1].outcome is not Outcome.RUNNING


def test_only_frames_that_the_policy_looks_at_are_asked_for() -> None:
    (memory,) = run([planned(0)], 1, replan=2)
    assert [bool(r.observation.images) for r in memory.records[:4]] == [True, False, True, False]
    (every,) = run([planned(0)], 1, replan=2, look_always=True)
    assert all(r.observation.images for r in every.records)
    assert np.array_equal(trajectory(memory), trajectory(every))


def test_several_worlds_give_what_one_gives() -> None:
    plan = [planned(i, start=i) for i in range(5)]
    alone = {m.info.index: trajectory(m) for m in run(plan, 1) if m.info}
    together = {m.info.index: trajectory(m) for m in run(plan, 3) if m.info}
    assert alone.keys() == together.keys() == set(range(5))
    for index, path in alone.items():
        np.testing.assert_allclose(together[index], path, atol=1e-6)


def test_steered_and_unsteered_episodes_share_a_batch() -> None:
    plain = trajectory(run([planned(0)], 1)[0])
    pair = run([planned(0), planned(1, arm="steered", fast=20.0)], 2, steering=True)
    by_arm = {m.info.arm: trajectory(m) for m in pair if m.info}
    np.testing.assert_allclose(by_arm["unsteered"], plain, atol=1e-6)
    n = min(len(plain), len(by_arm["steered"]))
    assert np.abs(by_arm["steered"][:n] - plain[:n]).max() > 1e-3


def test_a_knob_of_an_earlier_episode_does_not_linger() -> None:
    plain = trajectory(run([planned(0)], 1)[0])
    after = run([planned(1, arm="steered", fast=20.0), planned(0)], 1, steering=True)[1]
    np.testing.assert_allclose(trajectory(after), plain, atol=1e-6)


@pytest.mark.parametrize(("error", "outcome"), [(KeyboardInterrupt, Outcome.STOPPED), (RuntimeError, Outcome.FAILED)])
def test_open_episodes_are_closed_when_the_loop_breaks(error: type[BaseException], outcome: Outcome) -> None:
    memories: list[Memory] = []

    def sinks(_: PlannedEpisode) -> list[Memory]:
        memories.append(Memory())
        return [memories[-1]]

    def interrupt(_ended: int, _made: int) -> None:
        if len(memories[0].records) == 3:
            raise error("now")

    with pytest.raises(error):
        run_episodes(ToyPolicy(), [ToyWorld(), ToyWorld()], [planned(0), planned(1, 1)], sinks=sinks, on_step=interrupt)
    assert [m.outcome for m in memories] == [outcome, outcome]
    assert len(memories[0].records) == 3


def test_foreign_conventions_and_bad_intervals_are_refused() -> None:
    from dataclasses import replace

    policy = ToyPolicy()
    policy.action_spec = replace(policy.action_spec, rate_hz=5.0)
    with pytest.raises(ConventionError, match="5 Hz"):
        run_episodes(policy, [ToyWorld()], [planned(0)], sinks=lambda _: [])
    with pytest.raises(ConfigError, match="replan"):
        run([planned(0)], 1, replan=0)
