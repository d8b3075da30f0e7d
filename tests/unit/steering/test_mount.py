"""Mounting on a toy model whose results can be computed by hand; the same on real policies is in tests/contract."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import LAYERS, WIDTH, ToyPolicy

from vlasteer.anatomy import Neuron, SiteKey, record_activations
from vlasteer.errors import SteeringError, SteeringNotLiveError, UnknownNameError
from vlasteer.steering import Feature, Operator, Steering, WeightedNeuron, steer
from vlasteer.steering.scopes import scope_kinds
from vlasteer.steering.selftest import self_test

FAST = Feature.of("fast", [Neuron("vlm", 1, 3), Neuron("vlm", 2, 7)])
SITE = SiteKey("vlm", 1)


def activations(policy: ToyPolicy, rows: int = 1) -> dict[SiteKey, torch.Tensor]:
    with record_activations(policy.anatomy) as seen:
        policy.logits([policy.example(i) for i in range(rows)], list(range(rows)))
    return {key: passes[0] for key, passes in seen.passes.items()}


def test_the_self_test_accepts_a_live_policy() -> None:
    self_test(ToyPolicy())


def test_the_self_test_finds_a_dead_site() -> None:
    policy = ToyPolicy()
    live = policy.anatomy.probe
    policy.anatomy.probe = lambda: live() * 0
    with pytest.raises(SteeringNotLiveError, match="does not change"):
        self_test(policy)


def test_off_is_bitwise_the_unsteered_model() -> None:
    policy = ToyPolicy()
    plain = policy.anatomy.probe()
    with steer(policy, Steering.of(FAST, None)):
        assert torch.equal(policy.anatomy.probe(), plain)


def test_leaving_restores_the_same_modules() -> None:
    policy = ToyPolicy()
    before = [layer.down_proj for layer in policy.model.layers]
    with pytest.raises(RuntimeError, match="inside"), steer(policy, Steering.of(FAST, 1.0)):
        raise RuntimeError("inside")
    assert all(a is b.down_proj for a, b in zip(before, policy.model.layers, strict=True))
    assert policy.context.steering_rows == 1


def test_a_clamp_is_exact_and_touches_nothing_else() -> None:
    policy = ToyPolicy()
    plain = activations(policy)
    with steer(policy, Steering.of(FAST, 10.0)):
        steered = activations(policy)
    assert torch.all(steered[SITE][..., 3] == 10.0)
    others = [i for i in range(WIDTH) if i != 3]
    assert torch.equal(steered[SITE][..., others], plain[SITE][..., others])


@pytest.mark.parametrize(
    ("scope", "positions"),
    [("all", {0, 1, 2, 3, 4, 5}), ("prefill", {0, 1, 2, 3, 4}), ("decode", {5}), ("image", {1, 2, 3}),
     ("text", {0, 4}), ("text+decode", {0, 4, 5})],
)  # fmt: skip
def test_scopes_choose_positions(scope: str, positions: set[int]) -> None:
    policy = ToyPolicy()
    with steer(policy, Steering.of(FAST, 10.0, scope=scope)):
        column = activations(policy)[SITE][0, :, 3]
    assert {i for i, value in enumerate(column.tolist()) if value == 10.0} == positions


def test_an_unknown_scope_is_refused() -> None:
    with (
        pytest.raises(UnknownNameError, match="Did you mean 'decode'"),
        steer(ToyPolicy(), Steering.of(FAST, 1.0, scope="decoding")),
    ):
        pass


@settings(deadline=None, max_examples=40)
@given(
    terms=st.lists(
        st.tuples(st.sampled_from(list(Operator)), st.floats(-8, 8), st.floats(-2, 2)), min_size=1, max_size=4
    )
)
def test_operators_compose_in_order(terms: list[tuple[Operator, float, float]]) -> None:
    policy = ToyPolicy()
    plain = activations(policy)[SITE][0, :, 3].double()
    steering, expected = Steering(), plain.clone()
    for i, (operator, coefficient, weight) in enumerate(terms):
        feature = Feature(f"f{i}", (WeightedNeuron(Neuron("vlm", 1, 3), weight),))
        steering = steering + Steering.of(feature, coefficient, operator=operator)
        match operator:
            case Operator.SET:
                expected = torch.full_like(expected, coefficient * weight)
            case Operator.ADD:
                expected = expected + coefficient * weight
            case Operator.SCALE:
                expected = expected * (1 + (coefficient - 1) * weight)
            case Operator.ABLATE:
                expected = expected * 0
    with steer(policy, steering):
        got = activations(policy)[SITE][0, :, 3].double()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-3)


def test_rows_of_a_batch_carry_their_own_configuration() -> None:
    policy = ToyPolicy()
    with steer(policy, [Steering.of(FAST, 5.0), Steering(), Steering.of(FAST, -1.0)]) as port:
        batch = activations(policy, rows=3)[SITE]
        assert port.applied(0) == {"fast": 5.0}
        assert port.applied(1) == {"fast": None}
        port.set("fast", 2.0, row=1)
        changed = activations(policy, rows=3)[SITE]
    plain = activations(policy, rows=3)[SITE]
    assert torch.all(batch[0, :, 3] == 5.0)
    assert torch.equal(batch[1], plain[1])
    assert torch.all(batch[2, :, 3] == -1.0)
    assert torch.all(changed[1, :, 3] == 2.0)
    assert torch.equal(changed[0], batch[0])


def test_a_row_that_was_not_mounted_is_refused() -> None:
    policy = ToyPolicy()
    with steer(policy, Steering.of(FAST, 1.0), rows=2), pytest.raises(SteeringError, match="row 2"):
        activations(policy, rows=3)


def test_changes_wait_for_the_step_and_reach_all_layers_together() -> None:
    policy = ToyPolicy()
    with steer(policy, Steering.of(FAST, 1.0)) as port:
        thread = threading.Thread(target=port.set, args=("fast", 9.0))
        thread.start()
        thread.join()
        assert port.applied() == {"fast": 1.0}
        seen = activations(policy)
        assert port.applied() == {"fast": 9.0}
    assert torch.all(seen[SITE][..., 3] == 9.0)
    assert torch.all(seen[SiteKey("vlm", 2)][..., 7] == 9.0)


def test_a_coefficient_change_keeps_every_buffer_where_it_was() -> None:
    policy = ToyPolicy()
    with steer(policy, Steering.of(FAST, 1.0), rows=3) as port:
        buffers = [b for layer in policy.model.layers[1:] for b in layer.down_proj.buffers()]
        before = [b.data_ptr() for b in buffers]
        port.set("fast", 9.0, row=1)
        port.commit()
        assert [b.data_ptr() for b in buffers] == before
    assert LAYERS == 3


def test_mounting_twice_and_mounting_on_a_compiled_model_are_refused() -> None:
    policy = ToyPolicy()
    with (
        steer(policy, Steering.of(FAST, 1.0)),
        pytest.raises(SteeringError, match="steered already"),
        steer(policy, Steering.of(FAST, 2.0)),
    ):
        pass
    policy.model.layers[0].compile()
    with pytest.raises(SteeringError, match="compiled before"), steer(policy, Steering.of(FAST, 1.0)):
        pass


@pytest.mark.parametrize("neuron", [Neuron("vlm", 9, 0), Neuron("vlm", 0, WIDTH), Neuron("vlm", 0, -1)])
def test_neurons_that_do_not_exist_are_refused(neuron: Neuron) -> None:
    with (
        pytest.raises(SteeringError, match="Expected"),
        steer(ToyPolicy(), Steering.of(Feature.of("f", [neuron]), 1.0)),
    ):
        pass


def test_sites_that_cannot_reach_an_action_need_a_word() -> None:
    from dataclasses import replace

    policy = ToyPolicy()
    sites = (*policy.anatomy.sites[:-1], replace(policy.anatomy.sites[-1], reaches_action=False))
    policy.anatomy.sites = sites
    policy.anatomy._by_key = {s.key: s for s in sites}
    feature = Feature.of("inert", [Neuron("vlm", LAYERS - 1, 0)])
    with pytest.raises(SteeringError, match="negative control"), steer(policy, Steering.of(feature, 1.0)):
        pass
    with steer(policy, Steering.of(feature, 1.0), negative_control=True) as port:
        assert port.names == ("inert",)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_port_refuses_what_is_not_finite(bad: float) -> None:
    with steer(ToyPolicy(), Steering.of(FAST, 1.0)) as port:
        with pytest.raises(SteeringError, match="finite"):
            port.set("fast", bad)
        with pytest.raises(UnknownNameError):
            port.set("fats", 1.0)


def test_a_scope_of_another_stream_covers_nothing_here() -> None:
    vlm, expert = ("text", "image"), ("step0", "step1", "step2")
    assert scope_kinds("prefill", expert, [vlm]) == ()
    assert scope_kinds("prefill+step1", expert, [vlm]) == (1,)
    assert scope_kinds("step1-2", vlm, [expert]) == ()
    with pytest.raises(UnknownNameError):
        scope_kinds("decode", vlm, [expert])
