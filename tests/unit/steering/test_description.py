"""What a run records of its steering is enough to mount it again, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from toys import ToyPolicy

from vlasteer.errors import InputError, SteeringError
from vlasteer.steering import Feature, Quantile, Steering, WeightedNeuron, steer
from vlasteer.steering.description import describe, restore


def steering(policy: ToyPolicy) -> Steering:
    neurons = [policy.anatomy.unflat(i) for i in (3, 40, 70)]
    quantiles = {0.5: 0.1, 0.99: 1.0 / 3.0}
    own = Feature("own", (WeightedNeuron(neurons[0], 0.1), WeightedNeuron(neurons[1], 1.0, quantiles)))
    natural = Feature("natural", (WeightedNeuron(neurons[1], 1.0, quantiles),), scope="decode")
    late = Feature("late", (WeightedNeuron(neurons[2]),), weights_at={"decode": (0.25,)})
    return (
        Steering.of(own, 3.0)
        + Steering.of(natural, Quantile(0.9), operator="add")
        + Steering.of(late, -2.0, operator="scale")
    )


def test_a_described_steering_does_what_it_did(tmp_path):
    policy = ToyPolicy()
    given = steering(policy)
    text = yaml.safe_dump(describe(given))
    again = restore(yaml.safe_load(text), policy.anatomy)
    assert again.names == given.names
    assert [(t.operator, t.scope) for t in again] == [(t.operator, t.scope) for t in given]
    seen = policy.example()
    with steer(policy, given):
        wanted = policy.logits([seen], [0]).numpy()
    with steer(policy, again) as port:
        off = policy.logits([seen], [0]).numpy()
        port.set_all({term.name: term.factor for term in given})
        on = policy.logits([seen], [0]).numpy()
    np.testing.assert_array_equal(on, wanted)
    np.testing.assert_array_equal(off, policy.logits([seen], [0]).numpy())


def test_an_empty_one_is_empty():
    assert len(restore([], ToyPolicy().anatomy)) == 0
    assert describe(Steering()) == []


def test_what_is_no_description_is_refused():
    anatomy = ToyPolicy().anatomy
    with pytest.raises(InputError, match="cannot be read"):
        restore([{"feature": "fast"}], anatomy)
    (document,) = describe(Steering.of(Feature.of("fast", [anatomy.unflat(3)]), 1.0))
    with pytest.raises(SteeringError):
        restore([document | {"neurons": ["vlm:99:0"]}], anatomy)
    with pytest.raises(InputError):
        restore([document | {"targets": [1.0, 2.0]}], anatomy)
