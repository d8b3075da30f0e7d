"""Random draws: what they share with the feature, and what not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import WIDTH, ToyPolicy

from vlasteer.anatomy import Neuron, SiteKey
from vlasteer.errors import ConfigError
from vlasteer.steering.features import Feature, Operator, WeightedNeuron
from vlasteer.studies import matched_draws
from vlasteer.studies.matched import delivered_norm

ANATOMY = ToyPolicy().anatomy


def feature_of(*neurons: tuple[int, int, float]) -> Feature:
    items = tuple(WeightedNeuron(Neuron("vlm", layer, index), weight) for layer, index, weight in neurons)
    return Feature("fast", items, Operator.ADD, "decode")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, WIDTH - 1), st.floats(0.1, 3.0)),
        min_size=1,
        max_size=12,
        unique_by=lambda item: item[:2],
    ),
    st.integers(0, 5),
)
def test_layers_counts_and_delivered_norms_agree(neurons: list[tuple[int, int, float]], seed: int) -> None:
    feature = feature_of(*neurons)
    for draw in matched_draws(ANATOMY, feature, 3, seed=seed):
        assert Counter(n.neuron.layer for n in draw.neurons) == Counter(n.neuron.layer for n in feature.neurons)
        assert not {n.neuron for n in draw.neurons} & {n.neuron for n in feature.neurons}
        assert (draw.operator, draw.scope) == (feature.operator, feature.scope)
        for layer in {n.neuron.layer for n in feature.neurons}:
            norms = [
                delivered_norm(ANATOMY, SiteKey("vlm", layer), [n for n in f.neurons if n.neuron.layer == layer])
                for f in (feature, draw)
            ]
            assert norms[1] == pytest.approx(norms[0])


def test_draws_differ_and_are_repeatable() -> None:
    feature = feature_of((0, 1, 1.0), (1, 2, 1.0), (1, 3, 1.0))
    draws, again = (matched_draws(ANATOMY, feature, 4, seed=3) for _ in range(2))
    assert draws == again
    assert len({draw.neurons for draw in draws}) == 4
    assert [draw.name for draw in draws] == ["fast~0", "fast~1", "fast~2", "fast~3"]


def test_what_is_to_be_avoided_is_never_drawn() -> None:
    avoid = [Neuron("vlm", 0, i) for i in range(WIDTH - 3)]
    for draw in matched_draws(ANATOMY, feature_of((0, WIDTH - 1, 1.0)), 10, avoid=avoid):
        assert draw.neurons[0].neuron.index in (WIDTH - 3, WIDTH - 2)


def test_a_dense_feature_gets_its_weights_elsewhere() -> None:
    feature = feature_of(*((0, i, 0.1 * (i + 1)) for i in range(WIDTH)))
    draw = matched_draws(ANATOMY, feature, 1)[0]
    assert len(draw) == WIDTH
    assert [n.weight for n in sorted(draw.neurons, key=lambda n: n.neuron)] != [n.weight for n in feature.neurons]


def test_too_few_neurons_to_draw_from() -> None:
    with pytest.raises(ConfigError, match="to draw"):
        matched_draws(ANATOMY, feature_of((0, 0, 1.0)), 1, avoid=[Neuron("vlm", 0, i) for i in range(WIDTH)])
