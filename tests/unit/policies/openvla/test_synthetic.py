"""The checkpoint that is made on the spot is one that the adapter loads, and in which something can be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlasteer.errors import OutputError
from vlasteer.finding import FindOptions, find_feature
from vlasteer.policies.openvla.policy import OpenVLAPolicy
from vlasteer.policies.openvla.synthetic import NEURONS, OPPOSITES, planted, write_checkpoint
from vlasteer.projection import ProjectionOptions, project
from vlasteer.registry import load_policy
from vlasteer.steering import Feature, Steering, steer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("synthetic") / "tiny", seed=0)


@pytest.fixture(scope="module")
def policy(folder: Path) -> OpenVLAPolicy:
    loaded = load_policy(folder, device="cpu")  # strict about every tensor, and proves that steering is live
    assert isinstance(loaded, OpenVLAPolicy)
    return loaded


@pytest.fixture(scope="module")
def features(policy: OpenVLAPolicy) -> dict[str, Feature]:
    projection = project(policy.anatomy, ProjectionOptions(top_k=30))
    names = [name for pair in OPPOSITES for name in pair]
    return {name: find_feature(policy.anatomy, name, projection, FindOptions(k=NEURONS)) for name in names}


def test_it_is_recognised_and_acts_in_action_tokens(policy: OpenVLAPolicy) -> None:
    assert policy.kind == "openvla"
    assert policy.unnorm_keys == ("libero_goal_no_noops",)
    for seed in range(3):
        chunk = policy.act(policy.example(seed))
        assert chunk.non_action_tokens == 0
        assert np.isfinite(chunk.actions).all()


def test_the_planted_neurons_are_found(features: dict[str, Feature]) -> None:
    for concept, feature in features.items():
        found = {(n.neuron.layer, n.neuron.index) for n in feature.neurons}
        assert len(found & set(planted(concept))) >= NEURONS - 2


def test_the_planted_effect_shows(policy: OpenVLAPolicy, features: dict[str, Feature]) -> None:
    def step(steering: Steering) -> float:
        with steer(policy, steering):
            return float(np.mean([np.abs(policy.act(policy.example(i)).normalized[0, :3]).mean() for i in range(4)]))

    slow, plain, fast = step(Steering.of(features["slow"], 5)), step(Steering()), step(Steering.of(features["fast"], 5))
    assert slow < 0.5 * plain
    assert fast > 1.2 * plain


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    def content(place: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in place.iterdir()}

    assert content(write_checkpoint(tmp_path / "again", seed=0)) == content(folder)
    other = content(write_checkpoint(tmp_path / "other", seed=1))
    assert {name for name, data in content(folder).items() if other[name] != data} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "below")
