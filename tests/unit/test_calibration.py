"""Natural activations on the toy policy, against what its FFNs compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import ToyPolicy

from vlasteer.anatomy import Neuron, SiteKey, record_activations
from vlasteer.calibration import PROBABILITIES, calibrate
from vlasteer.errors import ObservationError, SteeringError, UnknownNameError
from vlasteer.steering import Feature, FeaturePack, Steering, steer

A, B = Neuron("vlm", 0, 4), Neuron("vlm", 2, 9)
POSITIONS = {"all": [0, 1, 2, 3, 4, 5], "prefill": [0, 1, 2, 3, 4], "image": [1, 2, 3], "text": [0, 4], "decode": [5]}


@pytest.fixture
def policy() -> ToyPolicy:
    return ToyPolicy()


def activations(policy: ToyPolicy, neuron: Neuron, observations: int) -> np.ndarray:
    """float32 [observations, positions]."""
    with record_activations(policy.anatomy) as seen:
        for i in range(observations):
            policy.act(policy.example(i))
    passes = seen.passes[SiteKey(neuron.stream, neuron.layer)]
    return torch.cat(passes)[..., neuron.index].numpy()


@pytest.mark.parametrize("scope", POSITIONS)
def test_quantiles_are_of_the_positions_that_the_scope_covers(policy: ToyPolicy, scope: str) -> None:
    feature = Feature.of("f", [B, A], scope=scope, evidence={"method": "x"})
    (measured,) = calibrate(policy, [feature], [policy.example(i) for i in range(20)])
    assert [item.neuron for item in measured.neurons] == [B, A]
    for item in measured.neurons:
        values = activations(policy, item.neuron, 20)[:, POSITIONS[scope]]
        assert tuple(item.quantiles) == PROBABILITIES
        assert list(item.quantiles.values()) == pytest.approx(np.quantile(values, PROBABILITIES).tolist(), abs=1e-6)
    expected = {"observations": 20, "positions": {"vlm": 20 * len(POSITIONS[scope])}, "scope": scope}
    assert measured.evidence == {"method": "x", "calibration": expected}


def test_several_features_share_one_run(policy: ToyPolicy) -> None:
    features = [Feature.of("a", [A], scope="image"), Feature.of("both", [A, B])]
    calls = len(policy.asked)
    steps: list[int] = []
    a, both = calibrate(policy, features, (policy.example(i) for i in range(3)), progress=steps.append)
    assert len(policy.asked) == calls + 3
    assert steps == [1, 2, 3]
    assert a.neurons[0].quantiles != both.neurons[0].quantiles
    assert both.neurons[0].quantiles[1.0] == activations(policy, A, 3).max()


def test_a_quantile_then_is_a_coefficient(policy: ToyPolicy) -> None:
    (feature,) = calibrate(policy, [Feature.of("f", [A])], [policy.example(0)], probabilities=(0.0, 1.0))
    with steer(policy, Steering.parse(["f=q1"], FeaturePack({"f": feature}))):
        largest = activations(policy, A, 1)
    assert np.unique(largest).tolist() == pytest.approx([feature.neurons[0].quantiles[1.0]])


def test_refusals(policy: ToyPolicy) -> None:
    feature = Feature.of("f", [A])
    with pytest.raises(ObservationError, match="no observation"):
        calibrate(policy, [feature], [])
    with steer(policy, Steering.of(feature, None)), pytest.raises(SteeringError, match="mounted"):
        calibrate(policy, [feature], [policy.example(0)])
    with pytest.raises(UnknownNameError, match="scope"):
        calibrate(policy, [Feature.of("f", [A], scope="images")], [policy.example(0)])
    with pytest.raises(SteeringError):
        calibrate(policy, [Feature.of("f", [Neuron("vlm", 0, 999)])], [policy.example(0)])


def test_hooks_are_gone_afterwards(policy: ToyPolicy) -> None:
    calibrate(policy, [Feature.of("f", [A])], [policy.example(0)])
    assert not any(module._forward_pre_hooks for module in policy.model.modules())
