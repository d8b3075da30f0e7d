"""What steering promises, on the real modules of every policy family; tests/unit/steering does it on a toy.

A new family joins by a line in `CASES`.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vlasteer.anatomy import Activations, Neuron, Site, SiteKey, record_activations
from vlasteer.errors import SteeringError
from vlasteer.protocols import Policy
from vlasteer.steering import Feature, Operator, Port, Steering, WeightedNeuron, steer
from vlasteer.steering.selftest import self_test
from vlasteer.types import ActionChunk, Observation


@dataclass(frozen=True)
class Case:
    """A checkpoint among the fixtures, the family that loads it, and the family's own options."""

    folder: str
    family: str
    options: Mapping[str, Any] = field(default_factory=dict)


CASES = [
    Case("openvla-tiny", "openvla", {"unnorm_key": "libero_10"}),
    Case("pi0-tiny", "pi0"),
    Case("pi0fast-tiny", "pi0_fast"),
]
CAN_COMPILE = (
    shutil.which(os.environ.get("CXX", "g++")) is not None
    and (Path(sysconfig.get_path("include")) / "Python.h").is_file()
)
ALPHA = 7.25
"""Exact in every dtype, and no activation by chance."""


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.folder)
def policy(request: pytest.FixtureRequest, shared: Path) -> Policy:
    case: Case = request.param
    family = importlib.import_module(f"vlasteer.policies.{case.family}")
    return family.load(shared / "fixtures" / case.folder, case.folder, device="cpu", dtype="float32", **case.options)


def live_sites(policy: Policy) -> list[Site]:
    return [site for site in policy.anatomy.sites if site.reaches_action]


def block(site: Site, count: int = 5) -> list[Neuron]:
    """Some neurons of a site, spread over it."""
    return [Neuron(*site.key, index) for index in np.linspace(0, site.width - 1, count).astype(int).tolist()]


def everywhere(policy: Policy, name: str = "everywhere") -> Feature:
    return Feature.of(name, [neuron for site in live_sites(policy) for neuron in block(site)])


def acting(policy: Policy, observation: Observation) -> tuple[ActionChunk, Activations]:
    with record_activations(policy.anatomy) as seen:
        chunk = policy.act(observation)
    return chunk, seen


def identical(one: Activations, other: Activations) -> bool:
    return one.passes.keys() == other.passes.keys() and all(
        len(passes) == len(other.passes[key]) and all(map(torch.equal, passes, other.passes[key]))
        for key, passes in one.passes.items()
    )


def columns(neurons: Sequence[Neuron]) -> list[int]:
    return [neuron.index for neuron in neurons]


# -- off ---------------------------------------------------------------------------------------------------------------
def test_the_self_test_passes(policy: Policy) -> None:
    self_test(policy)


@pytest.mark.parametrize("steering", ["empty", "off", "off rows"])
def test_a_steering_that_is_off_is_bitwise_the_unsteered_policy(policy: Policy, steering: str) -> None:
    observation = policy.example(1)
    plain, before = acting(policy, observation)
    off = Steering() if steering == "empty" else Steering.of(everywhere(policy), None)
    with steer(policy, off, rows=4 if steering == "off rows" else 1):
        chunk, seen = acting(policy, observation)
    assert identical(before, seen)
    assert np.array_equal(chunk.actions, plain.actions)
    assert np.array_equal(chunk.token_ids, plain.token_ids)


def test_leaving_restores_the_very_modules(policy: Policy) -> None:
    observation = policy.example(2)
    plain, before = acting(policy, observation)
    modules = dict(policy.anatomy.model.named_modules())
    with steer(policy, Steering.of(everywhere(policy), ALPHA)):
        steered, _ = acting(policy, observation)
    after = dict(policy.anatomy.model.named_modules())
    assert list(modules) == list(after)
    assert all(module is after[name] for name, module in modules.items())
    chunk, seen = acting(policy, observation)
    assert identical(before, seen)
    assert np.array_equal(chunk.actions, plain.actions)
    assert not np.array_equal(steered.actions, plain.actions)


# -- what a clamp does -------------------------------------------------------------------------------------------------
def test_a_clamp_is_exact_and_alone(policy: Policy) -> None:
    observation = policy.example(3)
    _, plain = acting(policy, observation)
    for site in policy.anatomy.sites:
        neurons = block(site)
        with steer(policy, Steering.of(Feature.of("clamp", neurons), ALPHA), negative_control=True):
            _, seen = acting(policy, observation)
        assert all(torch.all(values[..., columns(neurons)] == ALPHA) for values in seen.passes[site.key])
        others = [i for i in range(site.width) if i not in columns(neurons)]
        # What enters this site in the first pass comes from layers below, which nobody touched.
        assert torch.equal(seen.passes[site.key][0][..., others], plain.passes[site.key][0][..., others])


def expected(operator: Operator, values: Tensor, coefficient: float, weights: Tensor) -> Tensor:
    match operator:
        case Operator.SET:
            return (coefficient * weights).expand_as(values)
        case Operator.ADD:
            return values + coefficient * weights
        case Operator.SCALE:
            return values * (1 + (coefficient - 1) * weights)
        case Operator.ABLATE:
            return torch.zeros_like(values)


@pytest.mark.parametrize("operator", list(Operator))
def test_operators_against_a_hand_computation(policy: Policy, operator: Operator) -> None:
    observation = policy.example(4)
    weights = torch.tensor([1.0, -0.5, 2.0])
    for site in live_sites(policy):
        neurons = block(site, 3)
        feature = Feature("hand", tuple(WeightedNeuron(n, w) for n, w in zip(neurons, weights.tolist(), strict=True)))
        _, plain = acting(policy, observation)
        before = first_output(policy, site, observation)
        with steer(policy, Steering.of(feature, 3.0, operator=operator)):
            _, seen = acting(policy, observation)
            after = first_output(policy, site, observation)
        natural = plain.passes[site.key][0][..., columns(neurons)]
        wanted = expected(operator, natural, 3.0, weights)
        torch.testing.assert_close(seen.passes[site.key][0][..., columns(neurons)], wanted, rtol=1e-6, atol=1e-6)
        vectors = policy.anatomy.value_vectors(site)[columns(neurons)]
        torch.testing.assert_close(after - before, (wanted - natural) @ vectors, rtol=1e-4, atol=1e-4)


def first_output(policy: Policy, site: Site, observation: Observation) -> Tensor:
    """What the FFN writes in the first pass."""
    outputs: list[Tensor] = []
    handle = policy.anatomy.mlp(site).register_forward_hook(lambda _module, _args, output: outputs.append(output))
    try:
        policy.act(observation)
    finally:
        handle.remove()
    return outputs[0].detach().clone()


def scopes_of(policy: Policy, stream: str) -> dict[str, set[str]]:
    """Scope word -> kinds of position that it has to cover."""
    kinds = policy.anatomy.contexts[stream].kind_names
    families = {
        kind: {k for k in kinds if k.partition(".")[0] == kind} for kind in {k.partition(".")[0] for k in kinds}
    }
    scopes = {"all": set(kinds)} | {kind: {kind} for kind in kinds} | families
    if {"text", "image"} <= families.keys():
        scopes["prefill"] = families["text"] | families["image"]
    return scopes


@contextmanager
def recorded_kinds(policy: Policy, site: Site) -> Iterator[list[Tensor]]:
    """Position kinds of every pass through a site, as the policy announced them."""
    context = policy.anatomy.contexts[site.key.stream]
    passes: list[Tensor] = []
    handle = policy.anatomy.mlp(site).register_forward_pre_hook(
        lambda _module, args: passes.append(context.kinds[: args[0].shape[1]].clone())
    )
    try:
        yield passes
    finally:
        handle.remove()


def test_scopes_act_where_they_should_and_nowhere_else(policy: Policy) -> None:
    observation = policy.example(5)
    covered_kinds: set[str] = set()
    for stream in policy.anatomy.streams:
        names = policy.anatomy.contexts[stream].kind_names
        site = next(site for site in live_sites(policy) if site.key.stream == stream)
        for scope, kinds in scopes_of(policy, stream).items():
            neurons = block(site)
            with (
                steer(policy, Steering.of(Feature.of("clamp", neurons), ALPHA, scope=scope)),
                recorded_kinds(policy, site) as announced,
            ):
                _, seen = acting(policy, observation)
            for values, kind in zip(seen.passes[site.key], announced, strict=True):
                covered_kinds |= {names[k] for k in kind.tolist()}
                inside = torch.tensor([names[k] in kinds for k in kind.tolist()])
                assert torch.all((values[0][:, columns(neurons)] == ALPHA) == inside[:, None]), scope
    assert covered_kinds == {kind for context in policy.anatomy.contexts.values() for kind in context.kind_names}


# -- rows --------------------------------------------------------------------------------------------------------------
def same_answer(one: ActionChunk, other: ActionChunk) -> None:
    assert np.array_equal(one.token_ids, other.token_ids)
    np.testing.assert_allclose(one.actions, other.actions, rtol=0, atol=1e-5)


def different_lengths(policy: Policy) -> list[Observation]:
    """Observations of which some share the length of their prompt."""
    tasks = ("open the drawer", "pick up the red block and put it on the plate", "shut the drawer", "push it")
    return [Observation(policy.example(i).images, task, policy.example(i).state) for i, task in enumerate(tasks)]


def test_a_batch_answers_row_by_row(policy: Policy) -> None:
    observations = different_lengths(policy)
    for chunk, seen in zip(policy.act_batch(observations), observations, strict=True):
        same_answer(chunk, policy.act(seen))


def test_rows_of_a_batch_are_steered_each_in_its_own_way(policy: Policy) -> None:
    fast, slow = everywhere(policy, "fast"), Feature.of("slow", block(live_sites(policy)[0], 3)[1:2])
    own = [
        Steering.of(fast, 4.0),
        Steering(),
        Steering.of(fast, 10.0) + Steering.of(slow, -3.0),
        Steering.of(slow, 9.0),
    ]
    observations = different_lengths(policy)
    alone = []
    for steering, seen in zip(own, observations, strict=True):
        with steer(policy, steering):
            alone.append(policy.act(seen))
    with steer(policy, own):
        together = policy.act_batch(observations)
        swapped = policy.act_batch(observations[::-1], rows=[3, 2, 1, 0])
    for one, row, back in zip(alone, together, swapped[::-1], strict=True):
        same_answer(one, row)
        same_answer(one, back)
    assert [dict(chunk.applied) for chunk in together] == [
        {"fast": 4.0, "slow": None},
        {"fast": None, "slow": None},
        {"fast": 10.0, "slow": -3.0},
        {"fast": None, "slow": 9.0},
    ]


def test_a_row_that_is_not_mounted_is_refused(policy: Policy) -> None:
    with steer(policy, Steering.of(everywhere(policy), 1.0), rows=2), pytest.raises(SteeringError, match="row 2"):
        policy.act_batch([policy.example(i) for i in range(3)])


def test_answers_say_what_was_applied(policy: Policy) -> None:
    observation = policy.example()
    assert dict(policy.act(observation).applied) == {}
    with steer(policy, Steering.of(everywhere(policy), None)) as port:
        assert dict(policy.act(observation).applied) == {"everywhere": None}
        port.set("everywhere", 2.0)
        assert dict(policy.act(observation).applied) == {"everywhere": 2.0}
    assert dict(policy.act(observation).applied) == {}


# -- turning knobs -----------------------------------------------------------------------------------------------------
def test_a_knob_turned_from_another_thread_acts_in_all_layers_at_the_next_step(policy: Policy) -> None:
    observation = policy.example(6)
    sites = live_sites(policy)
    with steer(policy, Steering.of(everywhere(policy), 1.0)) as port:
        with turned_during_the_first_pass(policy, sites[0], port, 2.0):
            _, during = acting(policy, observation)
        _, after = acting(policy, observation)
    for site in sites:
        neurons = columns(block(site))
        assert all(torch.all(values[..., neurons] == 1.0) for values in during.passes[site.key])
        assert all(torch.all(values[..., neurons] == 2.0) for values in after.passes[site.key])


@contextmanager
def turned_during_the_first_pass(policy: Policy, site: Site, port: Port, value: float) -> Iterator[None]:
    """Another thread turns the knob while the first FFN runs, and has finished before it goes on."""

    def turn(*_: object) -> None:
        thread = threading.Thread(target=port.set, args=(port.names[0], value))
        thread.start()
        thread.join()

    handle = policy.anatomy.mlp(site).register_forward_pre_hook(turn)
    try:
        yield
    finally:
        handle.remove()


def test_a_knob_changes_buffers_in_place(policy: Policy) -> None:
    with steer(policy, Steering.of(everywhere(policy), 1.0), rows=2) as port:
        modules = [policy.anatomy.mlp(site).down_proj for site in live_sites(policy)]
        addresses = [[buffer.data_ptr() for buffer in module.buffers()] for module in modules]  # type: ignore[union-attr]
        for value in (2.0, None, -3.5):
            port.set("everywhere", value, row=1)
            policy.act(policy.example())
        assert addresses == [[buffer.data_ptr() for buffer in module.buffers()] for module in modules]  # type: ignore[union-attr]


def test_one_steering_at_a_time(policy: Policy) -> None:
    with (
        steer(policy, Steering.of(everywhere(policy), 1.0)),
        pytest.raises(SteeringError, match="already"),
        steer(policy, Steering()),
    ):
        pass


# -- compilation -------------------------------------------------------------------------------------------------------
def compilable(policy: Policy) -> Any:
    if not hasattr(policy, "compile"):
        pytest.skip(f"{policy.kind} offers no compilation")
    return policy


def test_what_was_compiled_before_mounting_is_refused(policy: Policy) -> None:
    site = live_sites(policy)[-1]
    mlp = policy.anatomy.mlp(site)
    mlp.compile(backend="eager")
    try:
        with pytest.raises(SteeringError, match="compiled before"), steer(policy, Steering()):
            pass
    finally:
        mlp._compiled_call_impl = None
    with pytest.raises(SteeringError, match="outside of a steer"):
        compilable(policy).compile()


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)], ids=["traced", "generated code"]
)
def test_compiled_is_right_and_never_recompiles(policy: Policy, backend: str) -> None:
    if backend == "inductor" and not CAN_COMPILE:
        pytest.skip("torch generates C++ for the CPU, and the compiler or Python.h is missing: see vlasteer doctor")
    compiled = compilable(policy)
    observation, last = policy.example(7), last_site(policy)
    settings = [4.0, 10.0, None, -2.0]
    # Only decoding passes are steered, so that nothing else than the compiled graph can see the coefficients.
    scope = "decode" if "decode" in policy.anatomy.contexts[last.stream].kind_names else "all"
    steering = Steering.of(everywhere(policy), None, scope=scope)
    with steer(policy, steering, rows=2) as port:
        eager = [turned(policy, port, value, observation) for value in settings]
        compiled.compile(backend=backend)
        policy.act(observation)
        with torch._dynamo.config.patch(error_on_recompile=True):
            found = [turned(policy, port, value, observation) for value in settings]
            policy.act_batch([observation], rows=[1])
    for one, other in zip(eager, found, strict=True):
        same_answer(one, other)
    assert len({tuple(chunk.actions.ravel()) for chunk in found}) == len(settings)
    with steer(policy, Steering()):
        same_answer(policy.act(observation), eager[2])


def turned(policy: Policy, port: Port, value: float | None, observation: Observation) -> ActionChunk:
    port.set("everywhere", value)
    return policy.act(observation)


def last_site(policy: Policy) -> SiteKey:
    return live_sites(policy)[-1].key
