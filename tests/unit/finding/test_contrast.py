"""Contrast features: what they measure, what they keep, and that they act."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import POSITIONS, ToyPolicy

from vlasteer.anatomy import SiteKey, record_activations
from vlasteer.errors import ConfigError, SteeringError
from vlasteer.finding.contrast import contrast_feature, paired_prompts
from vlasteer.finding.lexicon import Concept
from vlasteer.steering import Feature, Steering, steer
from vlasteer.steering.features import Operator

FAST = Concept("fast", ("fast", "zippy"), antonyms=("slow",))


def pairs(policy: ToyPolicy, count: int = 4):
    """The toy reads no words; states stand in for them."""
    seen = [policy.example(seed) for seed in range(count)]
    return [(replace(one, state=np.ones(3)), one) for one in seen]


def test_a_pair_differs_in_one_word_only() -> None:
    policy = ToyPolicy()
    seen = [policy.example(0), policy.example(1)]
    made = paired_prompts(seen, FAST, policy.anatomy)
    assert [(one.instruction, other.instruction) for one, other in made] == [("do it fast", "do it slow")] * 2
    assert all(one.images is other.images for one, other in made)
    plain = paired_prompts(seen, FAST, policy.anatomy, against="nothing")
    assert [(one.instruction, other.instruction) for one, other in plain] == [("do it fast", "do it")] * 2


def test_a_concept_without_opposite_is_refused() -> None:
    policy = ToyPolicy()
    with pytest.raises(ConfigError, match="no opposite"):
        paired_prompts([policy.example()], replace(FAST, antonyms=()), policy.anatomy)


def test_weights_are_the_difference_of_means_at_the_last_position() -> None:
    policy = ToyPolicy()
    feature = contrast_feature(policy, "fast", pairs(policy), layers=[1])
    expected = np.zeros(32)
    for one, other in pairs(policy):
        for seen, sign in ((one, 1), (other, -1)):
            with record_activations(policy.anatomy, [policy.anatomy.site("vlm", 1)]) as recorded:
                policy.act(seen)
            expected += sign * recorded.passes[policy.anatomy.site("vlm", 1).key][0][0, -1].numpy() / 4
    assert feature.operator is Operator.ADD
    assert [item.neuron.index for item in feature.neurons] == list(range(32))
    np.testing.assert_allclose([item.weight for item in feature.neurons], expected, atol=1e-6)


def test_every_kind_of_position_has_weights_of_its_own() -> None:
    policy = ToyPolicy()
    plain, kinds = policy.logits, policy.kinds

    def two_passes(*args):
        """The second pass ends at a text position."""
        policy.kinds = kinds
        logits = plain(*args)
        policy.kinds = kinds.flip(0)
        plain(*args)
        return logits

    policy.logits = two_passes  # type: ignore[method-assign]
    feature = contrast_feature(policy, "fast", pairs(policy), layers=[1])
    assert feature.scope == "text+decode"
    assert set(feature.weights_at) == {"text", "decode"}
    # The toy computes the same in both passes.
    np.testing.assert_allclose(feature.weights("text"), feature.weights("decode"))
    np.testing.assert_allclose(feature.weights("image"), feature.weights("decode"))
    alone = contrast_feature(ToyPolicy(), "fast", pairs(policy), layers=[1])
    assert alone.scope == "decode"
    np.testing.assert_allclose(alone.weights("decode"), feature.weights("decode"))


def test_a_policy_may_say_that_it_is_read_from_other_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = ToyPolicy()
    begin_pass = policy.context.begin_pass
    read_from = torch.zeros(2, POSITIONS, dtype=torch.bool)
    read_from[0, :2] = True
    read_from[1, :3] = True  # a row more than the other, as prompts of different length have them
    monkeypatch.setattr(policy.context, "begin_pass", lambda kinds, rows: begin_pass(kinds, rows, read_from))
    made = pairs(policy, 2)
    feature = contrast_feature(policy, "fast", made, layers=[1])
    assert feature.scope == "+".join(name for name in policy.context.kind_names if name in feature.weights_at)
    site = policy.anatomy.site("vlm", 1)
    for kind, weights in feature.weights_at.items():
        here = read_from & (policy.kinds == policy.context.kind_names.index(kind))
        expected = np.zeros(32)
        for i, sign in ((0, 1), (1, -1)):
            with record_activations(policy.anatomy, [site]) as recorded:
                policy.act_batch([pair[i] for pair in made])
            (values,) = recorded.passes[site.key]
            rows = [values[row, here[row]].mean(0).numpy() for row in range(2) if here[row].any()]
            expected += sign * np.mean(rows, axis=0)
        np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_k_keeps_the_neurons_that_change_most() -> None:
    policy = ToyPolicy()
    dense = contrast_feature(policy, "fast", pairs(policy, 40), rounds=1)
    sparse = contrast_feature(policy, "fast", pairs(policy, 40), k=5, rounds=1)
    assert len(dense) == 96
    assert len(sparse) == 5
    weights = {item.neuron: item.weight for item in dense.neurons}
    assert all(weights[item.neuron] == item.weight for item in sparse.neurons)
    assert {item.neuron for item in sparse.neurons} != {item.neuron for item in dense.neurons[:5]}


def test_adding_the_feature_moves_the_action_towards_its_counterpart() -> None:
    policy = ToyPolicy()
    made = pairs(policy, 1)
    feature = contrast_feature(policy, "fast", made, scope="decode")
    target, plain = policy.act(made[0][0]).actions, policy.act(made[0][1]).actions
    with steer(policy, Steering.of(feature, 1.0)):
        steered = policy.act(made[0][1]).actions
    assert np.linalg.norm(steered - target) < np.linalg.norm(plain - target)


@pytest.mark.parametrize("k", [None, 20])
def test_what_follows_from_what_is_added_is_not_added_twice(k: int | None) -> None:
    policy = ToyPolicy()
    made = pairs(policy, 8)

    def activations(side: int) -> dict[SiteKey, np.ndarray]:
        with record_activations(policy.anatomy, policy.anatomy.sites) as recorded:
            policy.act_batch([pair[side] for pair in made])
        return {key: values[0][:, -1].mean(0).numpy() for key, values in recorded.passes.items()}

    def gap(feature: Feature) -> float:
        """How far the counterparts' mean activations are from those with the concept, in the feature's neurons."""
        with steer(policy, Steering.of(feature, 1.0)):
            steered = activations(1)
        kept = [item.neuron for item in feature.neurons]
        return max(abs(wanted[(n.stream, n.layer)][n.index] - steered[(n.stream, n.layer)][n.index]) for n in kept)

    wanted = activations(0)
    once, often = (contrast_feature(policy, "fast", made, k=k, rounds=rounds) for rounds in (1, 8))
    assert gap(once) > 1e-2
    assert gap(often) < 1e-5
    assert 1 < often.evidence["rounds"] <= 5, "three layers are settled in four rounds"
    assert often.evidence["last_change"] < 0.02


def test_only_what_the_scope_covers_is_made_up_for() -> None:
    policy = ToyPolicy()
    once, often = (
        contrast_feature(policy, "fast", pairs(policy), scope="text", rounds=rounds).weights("decode")
        for rounds in (1, 8)
    )
    assert once == often, "nothing was added where differences were seen"


def test_bad_input() -> None:
    policy = ToyPolicy()
    with pytest.raises(ConfigError):
        contrast_feature(policy, "fast", [])
    with pytest.raises(ConfigError):
        contrast_feature(policy, "fast", pairs(policy), k=0)
    with pytest.raises(ConfigError):
        contrast_feature(policy, "fast", pairs(policy), rounds=0)
    some = Feature.of("x", [policy.anatomy.unflat(0)])
    with steer(policy, Steering.of(some, 1.0)), pytest.raises(SteeringError):
        contrast_feature(policy, "fast", pairs(policy))
