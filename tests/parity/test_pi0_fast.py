"""Pi0-FAST and its codec against reference outputs of lerobot's implementation, at the manifest's tolerances."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlasteer.anatomy import Activations, Neuron, SiteKey, record_activations
from vlasteer.errors import ConfigError
from vlasteer.policies.pi0_fast import load, recognises
from vlasteer.policies.pi0_fast.policy import Pi0FastPolicy
from vlasteer.policies.pi0_fast.wording import prompt_text
from vlasteer.steering import Feature, Steering, steer
from vlasteer.steering.selftest import self_test
from vlasteer.types import ActionChunk, ActionKind, Observation

FIXTURE = "pi0fast"
Arrays = dict[str, NDArray[Any]]
SCOPES = {"prefill_only": "prefill", "all": "all", "decode_only": "decode"}
STEERED = [
    (name, alpha, mode)
    for name, modes in (
        ("layer0", ("prefill_only", "all")),
        ("multi", tuple(SCOPES)),
        ("last_layer", ("prefill_only", "all")),
    )
    for alpha in (0, 4, 10)
    for mode in modes
]
LAYERS = 3


@pytest.fixture(scope="module")
def tolerance(manifest: dict[str, Any]) -> dict[str, float]:
    return manifest["recommended_abs_tolerances_fp32_cpu"]["pi0fast"]


@pytest.fixture(scope="module")
def policy(shared: Path) -> Pi0FastPolicy:
    return load(shared / "fixtures" / "pi0fast-tiny", "pi0fast-tiny", device="cpu", dtype="float32")


class Run(NamedTuple):
    """An answer, its activations, and the logits of every pass, float32 [vocabulary]."""

    chunk: ActionChunk
    seen: Activations
    logits: list[Tensor]


def run(policy: Pi0FastPolicy, observation: Observation) -> Run:
    """Alone, as the references were made."""
    logits: list[Tensor] = []
    handle = policy.network.native.lm_head.register_forward_hook(lambda _m, _a, out: logits.append(out[0]))
    try:
        with record_activations(policy.anatomy) as seen:
            return Run(policy.act(observation), seen, logits)
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def plain(policy: Pi0FastPolicy, observations: list[Observation]) -> list[Run]:
    return [run(policy, observation) for observation in observations]


def close(found: Any, wanted: NDArray[Any], atol: float) -> None:
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=atol)


def margin(logits: Tensor) -> float:
    first, second = logits.topk(2).values.tolist()
    return first - second


# -- inputs ------------------------------------------------------------------------------------------------------------
def test_inputs(
    policy: Pi0FastPolicy, observations: list[Observation], reference: Arrays, manifest: dict[str, Any]
) -> None:
    inputs = policy.inputs(observations)
    assert np.array_equal(inputs.pixels.numpy(), reference["images_model_input"])
    assert np.array_equal(inputs.ids.numpy()[:, :-1], reference["lang_tokens"])
    assert np.array_equal(inputs.valid.numpy()[:, :-1], reference["lang_mask"])
    assert inputs.ids[:, -1].tolist() == [2, 2, 2]  # BOS once more, behind the padding
    assert inputs.valid[:, -1].all()
    prompts = [
        prompt_text(seen.instruction, state)
        for seen, state in zip(observations, reference["state_normalized"], strict=True)
    ]
    assert prompts == manifest["pi0fast"]["prompts"]


def test_normalised_state(policy: Pi0FastPolicy, reference: Arrays) -> None:
    raw = np.stack([reference[f"obs{i}_state"] for i in range(3)])
    assert np.array_equal(policy.settings.checkpoint.state.normalize(raw), reference["state_normalized"])


def test_what_the_checkpoint_says(policy: Pi0FastPolicy, shared: Path) -> None:
    assert recognises(shared / "fixtures" / "pi0fast-tiny")
    assert not recognises(shared / "fixtures" / "pi0-tiny")
    assert (policy.cameras, policy.state_size, policy.action_spec.kind) == (("image", "image2"), 8, ActionKind.EE_DELTA)
    assert len(policy.anatomy.token_basis.action_ids) == 512
    assert policy.anatomy.token_basis.action_ids[-1] == 1884 - 129


# -- answers -----------------------------------------------------------------------------------------------------------
def same_answer(policy: Pi0FastPolicy, chunk: ActionChunk, wanted: Arrays, row: int, tolerance: float) -> None:
    """`wanted` holds token_ids, n_generated, prefix_ok, chunk_normalized and chunk."""
    count = wanted["n_generated"][row]
    assert chunk.token_ids.tolist() == wanted["token_ids"][row][:count].tolist()
    assert not wanted["token_ids"][row][count:].any()
    assert policy.action_tokens.read(chunk.token_ids.tolist()).framed == wanted["prefix_ok"][row]
    close(chunk.normalized, wanted["chunk_normalized"][row], tolerance)
    close(chunk.actions, wanted["chunk"][row], tolerance)


def of_steering(reference: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in reference.items() if name.startswith(prefix)}


def test_answers(policy: Pi0FastPolicy, plain: list[Run], reference: Arrays, tolerance: dict[str, float]) -> None:
    for row, found in enumerate(plain):
        same_answer(policy, found.chunk, reference, row, tolerance["chunk (given equal ids)"])
        assert found.chunk.non_action_tokens == 0


def test_a_batch_is_its_rows(policy: Pi0FastPolicy, observations: list[Observation], plain: list[Run]) -> None:
    for row, found in zip(policy.act_batch(observations), plain, strict=True):
        assert np.array_equal(row.token_ids, found.chunk.token_ids)
        assert np.array_equal(row.actions, found.chunk.actions)


@pytest.mark.parametrize("row", range(3))
def test_logits_and_activations(plain: list[Run], reference: Arrays, tolerance: dict[str, float], row: int) -> None:
    found = plain[row]
    close(found.logits[0], reference[f"first_logits_obs{row}"], tolerance["logits"])
    # A difference of two logits may be wrong by twice what one may be wrong by.
    close([margin(one) for one in found.logits], reference[f"top1_margin_obs{row}"], 2 * tolerance["logits"])
    last = [[one[0, -1].numpy() for one in found.seen.passes[SiteKey("vlm", layer)]] for layer in range(LAYERS)]
    close(last, reference[f"ffn_last_obs{row}"], tolerance["ffn"])


def test_activations_of_the_prefix(plain: list[Run], reference: Arrays, tolerance: dict[str, float]) -> None:
    valid = reference["prefix_valid_mask_obs0"]
    for layer in range(LAYERS):
        values = plain[0].seen.passes[SiteKey("vlm", layer)][0][0].numpy()
        close(values[valid], reference["ffn_prefill_full_obs0"][layer][valid], tolerance["ffn"])


# -- steering ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "alpha", "mode"), STEERED)
def test_steered_answers(
    policy: Pi0FastPolicy,
    observations: list[Observation],
    reference: Arrays,
    manifest: dict[str, Any],
    tolerance: dict[str, float],
    name: str,
    alpha: int,
    mode: str,
) -> None:
    feature = Feature.of(name, [Neuron("vlm", *pair) for pair in manifest["pi0fast"]["steer_sets"][name]])
    prefix = f"steer_{name}_a{alpha}_{mode}_"
    wanted = of_steering(reference, prefix)
    with steer(policy, Steering.of(feature, alpha, scope=SCOPES[mode])):
        found = [run(policy, observation) for observation in observations]
        together = policy.act_batch(observations)
    for row, one in enumerate(found):
        same_answer(policy, one.chunk, wanted, row, tolerance["chunk (given equal ids)"])
        assert np.array_equal(together[row].token_ids, one.chunk.token_ids)
    close(found[0].logits[0], wanted["first_logits_obs0"], tolerance["logits"])
    smallest = [min(margin(one) for one in each.logits) for each in found]
    close(smallest, wanted["min_margin"], 2 * tolerance["logits"])
    if "first_logits" in wanted:
        close(torch.stack([each.logits[0] for each in found]), wanted["first_logits"], tolerance["logits"])


def test_over_steering_is_counted(
    policy: Pi0FastPolicy, observations: list[Observation], manifest: dict[str, Any]
) -> None:
    feature = Feature.of("much", [Neuron("vlm", *pair) for pair in manifest["pi0fast"]["steer_sets"]["layer0"]])
    with steer(policy, Steering.of(feature, 10)):
        chunk = policy.act(observations[0])
    assert chunk.non_action_tokens == len(chunk.token_ids) == 64


def test_self_test(policy: Pi0FastPolicy) -> None:
    self_test(policy)


def test_noise_is_refused(policy: Pi0FastPolicy, observations: list[Observation]) -> None:
    with pytest.raises(ConfigError, match="greedily"):
        policy.act(observations[0], np.zeros((10, 32), np.float32))


# -- codec -------------------------------------------------------------------------------------------------------------
def without_padding(ids: NDArray[np.int64]) -> list[int]:
    return ids[ids >= 0].tolist()


@pytest.mark.parametrize("row", range(10))
def test_codec(policy: Pi0FastPolicy, reference: Arrays, tolerance: dict[str, float], row: int) -> None:
    ids = without_padding(reference["codec_tokens"][row])
    assert policy.codec.encode(reference["codec_actions"][row]) == ids
    assert policy.action_tokens.language_ids(ids) == without_padding(reference["codec_lang_ids"][row])
    strict = policy.codec.decode(ids, 10, 7, relaxed=False)
    close(strict, reference["codec_decoded_strict"][row], tolerance["codec"])
    close(policy.codec.decode(ids, 10, 7), reference["codec_decoded_relaxed"][row], tolerance["codec"])


@pytest.mark.parametrize("row", range(4))
def test_damaged_sequences(policy: Pi0FastPolicy, reference: Arrays, tolerance: dict[str, float], row: int) -> None:
    ids = without_padding(reference["relaxed_tokens"][row])
    close(policy.codec.decode(ids, 10, 7), reference["relaxed_decoded"][row], tolerance["codec"])


def test_every_reference_array_is_compared(reference: Arrays) -> None:
    """A new array in the fixtures has to get a test here."""
    prefixes = tuple(f"steer_{name}_a{alpha}_{mode}_" for name, alpha, mode in STEERED)
    compared = {"token_ids", "n_generated", "prefix_ok", "chunk_normalized", "chunk", "first_logits_obs0", "min_margin"}
    compared |= {"first_logits"}
    source = Path(__file__).read_text()
    steered = {name for name in reference if name.startswith(prefixes)}
    assert {re.sub(r"^steer_.*_(all|prefill_only|decode_only)_", "", name) for name in steered} <= compared
    others = [name for name in reference if name not in steered and not re.match(r"obs\d_", name)]
    left = [n for n in others if f'"{n}"' not in source and re.sub(r"obs\d$", "obs{row}", n) not in source]
    assert left == []
