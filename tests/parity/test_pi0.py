"""Pi0 against reference outputs of lerobot's implementation, at the tolerances of the fixtures' manifest.

The tolerances are those for a time embedding in float64; in float32 the expert would differ 20 times more.
"""

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
from vlasteer.errors import ConfigError, SteeringError
from vlasteer.policies.pi0 import load, recognises
from vlasteer.policies.pi0.policy import Pi0Policy
from vlasteer.projection import ProjectionOptions, project
from vlasteer.steering import Feature, Steering, steer
from vlasteer.steering.selftest import self_test
from vlasteer.types import ActionChunk, ActionKind, Gripper, Observation

FIXTURE = "pi0"
Arrays = dict[str, NDArray[Any]]
SETS = ("vlm_layer0", "vlm_multi", "vlm_last", "expert_layer1", "expert_multi", "vlm_and_expert")
STEERED = [(name, alpha) for name in SETS for alpha in (0, 4, 10)]


@pytest.fixture(scope="module")
def tolerance(manifest: dict[str, Any]) -> dict[str, float]:
    return manifest["recommended_abs_tolerances_fp32_cpu"]["pi0 with float64 time embedding"]


@pytest.fixture(scope="module")
def policy(shared: Path) -> Pi0Policy:
    return load(shared / "fixtures" / "pi0-tiny", "pi0-tiny", device="cpu", dtype="float32")


class Run(NamedTuple):
    """A batch of both observations: answers, activations, velocity of every step."""

    chunks: list[ActionChunk]
    seen: Activations
    velocities: list[Tensor]


def run(policy: Pi0Policy, observations: list[Observation], noise: NDArray[np.float32]) -> Run:
    velocities: list[Tensor] = []
    handle = policy.network.native.action_out_proj.register_forward_hook(lambda _m, _a, out: velocities.append(out))
    try:
        with record_activations(policy.anatomy) as seen:
            return Run(policy.act_batch(observations, noise), seen, velocities)
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def plain(policy: Pi0Policy, observations: list[Observation], reference: Arrays) -> Run:
    return run(policy, observations, reference["noise"])


def close(found: Any, wanted: NDArray[Any], atol: float) -> None:
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=atol)


# -- inputs ------------------------------------------------------------------------------------------------------------
def test_inputs(
    policy: Pi0Policy, observations: list[Observation], reference: Arrays, tolerance: dict[str, float]
) -> None:
    inputs = policy.inputs(observations)
    close(inputs.pixels, reference["images_model_input"], tolerance["images_model_input"])
    assert np.array_equal(inputs.ids.numpy(), reference["lang_tokens"])
    assert np.array_equal(inputs.valid.numpy(), reference["lang_mask"])
    assert np.array_equal(inputs.state.numpy(), reference["state_padded"])
    assert np.array_equal(inputs.state[:, :8].numpy(), reference["state_normalized"])


def test_what_the_checkpoint_says(policy: Pi0Policy, shared: Path) -> None:
    assert recognises(shared / "fixtures" / "pi0-tiny")
    assert not recognises(shared / "fixtures" / "pi0fast-tiny")
    assert (policy.cameras, policy.state_size) == (("image", "image2"), 8)
    assert (policy.action_spec.kind, policy.action_spec.gripper) == (
        ActionKind.EE_DELTA,
        Gripper.MINUS_OPEN_PLUS_CLOSED,
    )
    assert policy.action_spec.scale == (0.05,) * 3 + (0.5,) * 3
    assert policy.action_spec.rate_hz == 20.0


# -- the network -------------------------------------------------------------------------------------------------------
def test_chunk(plain: Run, reference: Arrays, tolerance: dict[str, float]) -> None:
    close([chunk.normalized for chunk in plain.chunks], reference["chunk_normalized"], tolerance["chunk"])
    close([chunk.actions for chunk in plain.chunks], reference["chunk"], tolerance["chunk"])


def test_padded_chunk(
    policy: Pi0Policy, observations: list[Observation], reference: Arrays, tolerance: dict[str, float]
) -> None:
    sampled = policy.network.sample(policy.inputs(observations), torch.from_numpy(reference["noise"]), [0, 0])
    close(sampled, reference["chunk_raw32"], tolerance["chunk"])


def test_velocity(plain: Run, reference: Arrays, tolerance: dict[str, float]) -> None:
    close(torch.stack(plain.velocities, dim=1), reference["velocity"], tolerance["chunk"])


@pytest.mark.parametrize("layer", range(3))
def test_ffn_of_the_vlm(plain: Run, reference: Arrays, tolerance: dict[str, float], layer: int) -> None:
    (values,) = plain.seen.passes[SiteKey("vlm", layer)]
    valid = reference["prefix_valid_mask"]
    close(values.numpy()[valid], reference["vlm_ffn_prefill"][:, layer][valid], tolerance["vlm_ffn_prefill"])


def test_prefix_mask_and_kinds(policy: Pi0Policy, observations: list[Observation], reference: Arrays) -> None:
    from vlasteer.policies.pi_family.backbone import IMAGE, TEXT, embed_prefix

    inputs = policy.inputs(observations)
    with torch.no_grad():
        prefix = embed_prefix(policy.network.native.model.vlm, inputs.pixels, 1, inputs.ids, inputs.valid)
    assert np.array_equal(prefix.valid.numpy(), reference["prefix_valid_mask"])
    patches = 3 * 16  # two cameras and an empty one
    assert prefix.kinds.tolist() == [IMAGE] * patches + [TEXT] * 48


@pytest.mark.parametrize("layer", range(3))
def test_ffn_of_the_expert(plain: Run, reference: Arrays, tolerance: dict[str, float], layer: int) -> None:
    passes = plain.seen.passes[SiteKey("expert", layer)]
    close(torch.stack(passes, dim=1), reference["expert_ffn"][:, layer], tolerance["expert_ffn"])


# -- steering ----------------------------------------------------------------------------------------------------------
def chosen(manifest: dict[str, Any], name: str) -> Feature:
    return Feature.of(name, [Neuron(*neuron) for neuron in manifest["pi0"]["steer_sets"][name]])


@pytest.mark.parametrize(("name", "alpha"), STEERED)
def test_steered_chunk(
    policy: Pi0Policy,
    observations: list[Observation],
    reference: Arrays,
    manifest: dict[str, Any],
    tolerance: dict[str, float],
    plain: Run,
    name: str,
    alpha: int,
) -> None:
    steering = Steering.of(chosen(manifest, name), alpha)
    with steer(policy, steering, negative_control=name == "vlm_last"):
        chunks = policy.act_batch(observations, reference["noise"])
    close([c.normalized for c in chunks], reference[f"steer_{name}_a{alpha}_chunk_normalized"], tolerance["chunk"])
    close([c.actions for c in chunks], reference[f"steer_{name}_a{alpha}_chunk"], tolerance["chunk"])
    unchanged = all(np.array_equal(c.actions, p.actions) for c, p in zip(chunks, plain.chunks, strict=True))
    assert unchanged == (name == "vlm_last")


def test_steered_ffn_of_the_expert(
    policy: Pi0Policy,
    observations: list[Observation],
    reference: Arrays,
    manifest: dict[str, Any],
    tolerance: dict[str, float],
) -> None:
    feature = chosen(manifest, "vlm_and_expert")
    with steer(policy, Steering.of(feature, 10)), record_activations(policy.anatomy) as seen:
        policy.act_batch(observations, reference["noise"])
    found = torch.stack([seen.passes[SiteKey("expert", layer)][0] for layer in range(3)], dim=1)
    close(found, reference["steer_vlm_and_expert_a10_expert_ffn_step0"], tolerance["expert_ffn"])


def test_the_last_vlm_layer_is_refused_unless_asked_for(policy: Pi0Policy, manifest: dict[str, Any]) -> None:
    steering = Steering.of(chosen(manifest, "vlm_last"), 4)
    with pytest.raises(SteeringError, match="cannot reach an action"), steer(policy, steering):
        pass
    assert [site.reaches_action for site in policy.anatomy.stream_sites("vlm")] == [True, True, False]
    assert all(site.reaches_action for site in policy.anatomy.stream_sites("expert"))


def test_denoising_steps_are_scopes(
    policy: Pi0Policy, observations: list[Observation], reference: Arrays, manifest: dict[str, Any]
) -> None:
    feature = Feature.of("late", [Neuron("expert", 1, 2)])
    with steer(policy, Steering.of(feature, 7.25, scope="step7-9")), record_activations(policy.anatomy) as seen:
        policy.act(observations[0], reference["noise"][0])
    clamped = [bool(torch.all(values[..., 2] == 7.25)) for values in seen.passes[SiteKey("expert", 1)]]
    assert clamped == [False] * 7 + [True] * 3


def test_self_test(policy: Pi0Policy) -> None:
    self_test(policy)


# -- batches and noise -------------------------------------------------------------------------------------------------
def test_a_batch_is_its_rows(policy: Pi0Policy, observations: list[Observation], reference: Arrays, plain: Run) -> None:
    for observation, noise, row in zip(observations, reference["noise"], plain.chunks, strict=True):
        # Measured 2e-6: matrix products of another shape add in another order.
        close(policy.act(observation, noise).normalized, row.normalized, 1e-5)


def test_noise_of_another_shape_is_refused(policy: Pi0Policy, observations: list[Observation]) -> None:
    with pytest.raises(ConfigError, match=r"noise of shape \[10, 7\]"):
        policy.act(observations[0], np.zeros((10, 7), np.float32))


# -- value vectors -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("variant", "fold"), [("raw", False), ("gamma", True)])
def test_value_vectors_on_the_token_basis(policy: Pi0Policy, reference: Arrays, variant: str, fold: bool) -> None:
    projection = project(policy.anatomy, ProjectionOptions(top_k=30, fold_norm=fold))
    for row, (layer, index) in enumerate(reference["value_pairs"].tolist()):
        ids, scores = zip(*projection.top(Neuron("vlm", layer, index)), strict=True)
        assert list(ids) == reference[f"value_{variant}_top30_ids"][row].tolist()
        close(scores, reference[f"value_{variant}_top30_logits"][row], 1e-5)


def test_the_expert_has_no_vocabulary_to_be_projected_on(policy: Pi0Policy) -> None:
    with pytest.raises(ConfigError, match="expert"):
        project(policy.anatomy, sites=policy.anatomy.stream_sites("expert"))


def test_every_reference_array_is_compared(reference: Arrays) -> None:
    """A new array in the fixtures has to get a test here."""
    known = {f"steer_{name}_a{alpha}_{what}" for name, alpha in STEERED for what in ("chunk", "chunk_normalized")}
    known |= {f"value_{variant}_top30_{what}" for variant in ("raw", "gamma") for what in ("ids", "logits")}
    source = Path(__file__).read_text()
    left = [n for n in reference if n not in known and f'"{n}"' not in source and not re.match(r"obs\d_", n)]
    assert left == []
