"""The policy's calls beside the dataset: what was asked, answered and activated, call by call."""

from __future__ import annotations

import numpy as np
import pytest
from toys import SPEC, ToyPolicy, ToyWorld

from vlasteer.errors import ConfigError, InputError, UnknownNameError
from vlasteer.launch.recording import parse_sites
from vlasteer.recording import DatasetWriter, read_calls, read_episodes
from vlasteer.recording.calls import ActivationChoice, CallTap
from vlasteer.runs import Run, RunFolder
from vlasteer.runtime import LoopOptions, PlannedEpisode, run_episodes
from vlasteer.steering import Feature, Steering, steer
from vlasteer.types import EpisodeInfo, EpisodeKey


def plan(count: int) -> list[PlannedEpisode]:
    return [
        PlannedEpisode(
            EpisodeInfo(i, EpisodeKey(i % 2, i, 0), "go", "steered", "toy", SPEC, ("fast",)), {"fast": float(i)}
        )
        for i in range(count)
    ]


def run(root, *, worlds: int = 1, episodes: int = 2, **options) -> ToyPolicy:
    policy = ToyPolicy()
    sites = policy.anatomy.sites
    options = {"activations": ActivationChoice((sites[0], sites[2]), "all"), "images": True} | options
    neuron = policy.anatomy.unflat(3)
    writer = DatasetWriter(root)
    with (
        CallTap(policy, **options) as tap,
        steer(policy, Steering.of(Feature.of("fast", [neuron]), 1.0), rows=worlds) as port,
    ):
        run_episodes(
            tap.policy,
            [ToyWorld(horizon=5) for _ in range(worlds)],
            plan(episodes),
            sinks=lambda _: [writer.recorder([tap.recorder()])],
            port=port,
            options=LoopOptions(replan=2, look_always=True),
        )
    assert not policy.anatomy.down_proj(sites[0])._forward_pre_hooks  # nothing listens any more
    return policy


@pytest.mark.parametrize("worlds", [1, 3])
def test_calls_come_back_with_their_episode_also_when_rows_share_a_batch(tmp_path, worlds):
    policy = run(tmp_path, worlds=worlds, episodes=4)
    for row in read_episodes(tmp_path):
        calls = list(read_calls(tmp_path, row["episode_index"]))
        assert [call.index for call in calls] == [0, 1, 2]
        world = ToyWorld(horizon=5)
        world.reset(EpisodeKey(row["task"], row["start"], row["seed"]))
        np.testing.assert_array_equal(calls[0].observation.state, world.observe().state)
        for k, call in enumerate(calls):
            assert call.applied == {"fast": float(row["plan_index"])}
            assert call.observation.time_s == 2 * k / 20
            assert call.observation.instruction == "go"
            assert np.all(call.observation.images["image"] == 2 * k)
            with steer(policy, Steering.of(Feature.of("fast", [policy.anatomy.unflat(3)]), row["plan_index"])):
                again = policy.act(call.observation)
            np.testing.assert_allclose(call.actions, again.actions, atol=1e-6)


def test_activations_are_those_after_steering_of_the_chosen_sites(tmp_path):
    run(tmp_path, worlds=2, episodes=2)
    for row in read_episodes(tmp_path):
        for call in read_calls(tmp_path, row["episode_index"]):
            assert [str(key) for key in call.activations] == ["vlm:0", "vlm:2"]
            values = call.activations[next(iter(call.activations))]
            assert values.shape == (6, 32)
            assert values.dtype == np.float32
            assert np.all(values[:, 3] == row["plan_index"])
            assert np.any(values[:, 4] != row["plan_index"])
            assert [list(lengths) for lengths in call.passes.values()] == [[6], [6]]


def test_the_last_position_is_enough_and_half_precision_is_half_the_size(tmp_path):
    sites = ToyPolicy().anatomy.sites
    run(tmp_path, activations=ActivationChoice(sites[:1], "last", "float16"), images=False)
    call = next(read_calls(tmp_path, 0))
    (values,) = call.activations.values()
    assert values.shape == (1, 32)
    assert values.dtype == np.float16
    assert not call.observation.images


def test_beyond_the_limit_calls_are_kept_without_what_is_large(tmp_path):
    run(tmp_path, limit_bytes=3000)
    calls = list(read_calls(tmp_path, 0))
    assert [call.full for call in calls] == [False, False, True] or [call.full for call in calls] == [False, True, True]
    assert all(bool(call.activations) != call.full for call in calls)
    assert all(bool(call.observation.images) != call.full for call in calls)
    assert all(call.actions.shape == (2, 7) for call in calls)


def test_the_answers_are_those_of_the_policy_alone(tmp_path):
    policy = ToyPolicy()
    seen = policy.example()
    with CallTap(policy, activations=ActivationChoice(policy.anatomy.sites)) as tap:
        assert np.array_equal(tap.policy.act(seen).actions, policy.act(seen).actions)
        assert tap.policy.cameras == policy.cameras
        assert tap.policy.anatomy is policy.anatomy


def test_a_run_gives_activations_by_site(tmp_path):
    with RunFolder.create_or_resume(tmp_path / "run", {}):
        pass
    run(tmp_path / "run")
    found = Run.load(tmp_path / "run").activations(0)
    assert [(str(site), len(arrays)) for site, arrays in found.items()] == [("vlm:0", 3), ("vlm:2", 3)]
    with pytest.raises(InputError, match="no calls of episode 7"):
        Run.load(tmp_path / "run").activations(7)


def test_a_run_without_activations_says_how_to_have_them(tmp_path):
    with RunFolder.create_or_resume(tmp_path / "run", {}):
        pass
    run(tmp_path / "run", activations=None)
    with pytest.raises(InputError, match="--activations"):
        Run.load(tmp_path / "run").activations(0)


def test_sites_are_parsed():
    anatomy = ToyPolicy().anatomy
    assert [str(site.key) for site in parse_sites(["vlm:0,2"], anatomy)] == ["vlm:0", "vlm:2"]
    assert len(parse_sites(["vlm:all", "vlm:1"], anatomy)) == 3
    with pytest.raises(ConfigError, match="stream and its layers"):
        parse_sites(["0"], anatomy)
    with pytest.raises(ConfigError, match="indices from 0 to 2"):
        parse_sites(["vlm:3"], anatomy)
    with pytest.raises(UnknownNameError, match="stream 'expert'"):
        parse_sites(["expert:0"], anatomy)
    with pytest.raises(ConfigError, match="elsewhere"):
        parse_sites(["vlm:0"], None)


def test_activations_of_a_policy_that_is_elsewhere_are_refused():
    class Remote:
        name = "ws://somewhere"

    site = ToyPolicy().anatomy.sites[0]
    with pytest.raises(ConfigError, match="elsewhere"):
        CallTap(Remote(), activations=ActivationChoice((site,)))  # type: ignore[arg-type]
