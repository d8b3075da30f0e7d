"""Families of kinds of position, and features with weights of their own for some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import ToyPolicy

from vlasteer.anatomy import Neuron, record_activations
from vlasteer.errors import FeaturePackError, SteeringError, UnknownNameError
from vlasteer.passes import PassContext
from vlasteer.steering import Feature, FeaturePack, Operator, Steering, WeightedNeuron, steer
from vlasteer.steering.scopes import scope_kinds
from vlasteer.studies import matched_draws

KINDS = ("text", "text.last", "image", "decode.1", "decode.2")
NEURONS = (WeightedNeuron(Neuron("vlm", 1, 3), 0.5), WeightedNeuron(Neuron("vlm", 2, 7), -0.5))
FEATURE = Feature("fast", NEURONS, Operator.ADD, "text+decode", weights_at={"decode": (2.0, -3.0)})


class FinePolicy(ToyPolicy):
    """Six positions of five kinds."""

    def __init__(self) -> None:
        super().__init__()
        context = PassContext(KINDS, max_rows=16, max_positions=16)
        self.context = self.anatomy.contexts["vlm"] = context
        self.kinds = torch.tensor([0, 2, 2, 1, 3, 4])


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("text", {0, 1}),
        ("text.last", {1}),
        ("decode", {3, 4}),
        ("decode.2+image", {2, 4}),
        ("prefill", {0, 1, 2}),
        ("all", {0, 1, 2, 3, 4}),
    ],
)
def test_a_family_covers_its_members(scope: str, covered: set[int]) -> None:
    assert set(scope_kinds(scope, KINDS)) == covered


def test_what_is_no_member_is_refused() -> None:
    for scope in ("decode.3", "dec", "last"):
        with pytest.raises(UnknownNameError):
            scope_kinds(scope, KINDS)


def test_weights_hold_where_they_are_given() -> None:
    policy = ToyPolicy()
    plain, steered = recorded(policy), recorded(policy, Steering.of(FEATURE, 2.0))
    difference = (steered - plain).numpy()
    # The first site is untouched up to neuron 3 of layer 1: text, image x3, text, decode.
    np.testing.assert_allclose(difference[:, 3], [1.0, 0, 0, 0, 1.0, 4.0], atol=1e-5)


def recorded(policy: ToyPolicy, steering: Steering | None = None) -> torch.Tensor:
    """[positions, neurons] of layer 1; steered on its own, so that nothing before it changes."""
    terms = Steering() if steering is None else steering
    with steer(policy, terms), record_activations(policy.anatomy) as seen:
        policy.logits([policy.example()], [0])
    return next(passes[0][0] for key, passes in seen.passes.items() if key.layer == 1)


def test_finer_kinds_are_steered_by_themselves() -> None:
    policy = FinePolicy()
    feature = Feature("fast", NEURONS[:1], Operator.ADD, "text.last+decode", weights_at={"decode.2": (4.0,)})
    difference = (recorded(policy, Steering.of(feature, 1.0)) - recorded(policy)).numpy()
    np.testing.assert_allclose(difference[:, 3], [0, 0, 0, 0.5, 0.5, 4.0], atol=1e-5)


def test_weights_have_to_fit() -> None:
    for weights in ((1.0,), (1.0, float("nan"))):
        with pytest.raises(SteeringError):
            Feature("fast", NEURONS, weights_at={"decode": weights})


def test_a_pack_keeps_them(tmp_path: Path) -> None:
    policy = ToyPolicy()
    path = tmp_path / "pack.json"
    FeaturePack({"fast": FEATURE}, "toy-hash").save(path)
    again = FeaturePack.load(path, policy.anatomy, "toy-hash")["fast"]
    assert again == FEATURE
    assert again.weights("decode") == (2.0, -3.0)
    assert again.weights("text") == (0.5, -0.5)
    path.write_text(path.read_text().replace('"decode": [', '"decode": ["x",'))
    with pytest.raises(FeaturePackError, match="weights_at"):
        FeaturePack.load(path, policy.anatomy, "toy-hash")


def test_draws_deliver_as_much_at_every_kind() -> None:
    policy = ToyPolicy()
    items = tuple(WeightedNeuron(Neuron("vlm", 1, i), 0.1 * (i + 1)) for i in range(5))
    feature = Feature("fast", items, Operator.ADD, "all", weights_at={"decode": (1.0, -2.0, 0.5, 0.0, 3.0)})
    vectors = policy.anatomy.value_vectors(policy.anatomy.site("vlm", 1)).double().numpy()

    def norm(one: Feature, kind: str) -> float:
        return float(np.linalg.norm(one.weights(kind) @ vectors[[item.neuron.index for item in one.neurons]]))

    for draw in matched_draws(policy.anatomy, feature, 3):
        assert set(draw.weights_at) == {"decode"}
        assert not {item.neuron for item in draw.neurons} & {item.neuron for item in items}
        for kind in ("text", "decode"):
            assert norm(draw, kind) == pytest.approx(norm(feature, kind))
