"""What Pi0 does with checkpoints in every format, with noise, offsets and unusable observations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from altered import edit_json, tensors_of
from safetensors.torch import save_file
from tiny_pi import ACTION, CHUNK, IMAGE, PADDED, STATE, STATISTICS, write_openpi, write_pi0
from torch import Tensor

from vlasteer.anatomy import record_activations
from vlasteer.conventions import converter
from vlasteer.errors import ConventionError, ObservationError, VlasteerError
from vlasteer.finding.contrast import contrast_feature
from vlasteer.policies.pi0 import load
from vlasteer.policies.pi0.network import native_key
from vlasteer.policies.pi0.policy import Pi0Policy
from vlasteer.policies.pi_family.conventions import CONVENTIONS
from vlasteer.steering import Steering, steer
from vlasteer.steering.selftest import self_test
from vlasteer.types import ActionKind, Gripper, Observation

LM_HEAD = "model.paligemma_with_expert.paligemma.lm_head.weight"
EMBEDDING = "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
NOISE = np.random.default_rng(1).standard_normal((CHUNK, PADDED), dtype=np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pi0(tmp_path_factory.mktemp("pi0") / "lerobot")


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> Pi0Policy:
    return load(checkpoint, "tiny", device="cpu")


def answer(folder: Path, observation: Observation, **options: Any) -> np.ndarray:
    return load(folder, "tiny", device="cpu", **options).act(observation, NOISE).actions


def weights(folder: Path) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors_of(folder).items() if key.startswith("model.")}


# -- formats -----------------------------------------------------------------------------------------------------------
def unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("model."): tensor for key, tensor in tensors.items()}


def embedding_only(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {EMBEDDING if key == LM_HEAD else key: tensor for key, tensor in tensors.items()}


def stale_embedding(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {EMBEDDING: torch.zeros_like(tensors[LM_HEAD])}


def without_expert_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors.items() if "gemma_expert.lm_head" not in key}


@pytest.mark.parametrize(
    "style", [unprefixed, embedding_only, stale_embedding, without_expert_head], ids=lambda style: style.__name__
)
def test_key_styles_are_one_model(policy: Pi0Policy, tmp_path: Path, style: Any) -> None:
    folder = write_pi0(tmp_path / "copy")
    save_file(style(weights(folder)), folder / "model.safetensors")
    other = load(folder, "copy", device="cpu")
    observation = policy.example()
    # Weights are mapped, and how they are aligned in memory depends on the lengths of the names in the file.
    found, wanted = (one.act(observation, NOISE).actions for one in (other, policy))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert other.checkpoint_hash == policy.checkpoint_hash


def test_native_keys() -> None:
    inner = "paligemma_with_expert."
    tower = "paligemma.model.vision_tower"
    assert {
        key: native_key(key)
        for key in (
            f"{inner}paligemma.model.language_model.norm.weight",
            f"{inner}{tower}.vision_model.embeddings.patch_embedding.bias",
            f"{inner}paligemma.lm_head.weight",
            f"{inner}gemma_expert.model.norm.weight",
            f"{inner}gemma_expert.lm_head.weight",
            f"{inner}gemma_expert.model.embed_tokens.weight",
            "state_proj.bias",
            "action_time_mlp_out.weight",
            "action_out_proj.weight",
            "something.else",
        )
    } == {
        f"{inner}paligemma.model.language_model.norm.weight": "model.vlm.language_model.norm.weight",
        f"{inner}{tower}.vision_model.embeddings.patch_embedding.bias": (
            "model.vlm.vision_tower.embeddings.patch_embedding.bias"
        ),
        f"{inner}paligemma.lm_head.weight": "model.vlm.language_model.embed_tokens.weight",
        f"{inner}gemma_expert.model.norm.weight": "model.dit.norm.weight",
        f"{inner}gemma_expert.lm_head.weight": None,
        f"{inner}gemma_expert.model.embed_tokens.weight": None,
        "state_proj.bias": "embed_action_time.state_proj.bias",
        "action_time_mlp_out.weight": "embed_action_time.action_time_mlp_out.weight",
        "action_out_proj.weight": "action_out_proj.weight",
        "something.else": "something.else",
    }


def test_the_hash_follows_what_features_depend_on(policy: Pi0Policy, tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "copy")
    changed = weights(folder)
    changed["model.paligemma_with_expert.gemma_expert.model.layers.0.mlp.down_proj.weight"][0, 0] += 1
    save_file(changed, folder / "model.safetensors")
    assert load(folder, "copy", device="cpu").checkpoint_hash != policy.checkpoint_hash


def test_openpi_and_lerobot_answer_alike(policy: Pi0Policy, tmp_path: Path) -> None:
    other = load(write_openpi(tmp_path / "openpi"), "openpi", device="cpu")
    example = policy.example()
    # Of the model's own size, so that the two resize filters do not matter.
    images = {name: image[:IMAGE, :IMAGE] for name, image in example.images.items()}
    observation = replace(example, images=images, instruction="  open_the drawer ")
    cleaned = replace(observation, instruction="open the drawer")
    ours, theirs = policy.act(cleaned, NOISE), other.act(observation, NOISE)
    np.testing.assert_allclose(theirs.actions, ours.actions, rtol=0, atol=1e-4)
    assert other.checkpoint_hash == policy.checkpoint_hash
    assert (other.cameras, other.action_spec) == (policy.cameras, policy.action_spec)
    self_test(other)


def test_the_projections_stay_float32(checkpoint: Path) -> None:
    policy = load(checkpoint, "half", device="cpu", dtype="bfloat16")
    native = policy.network.native
    assert native.model.dit.norm.weight.dtype == native.model.vlm.language_model.norm.weight.dtype == torch.bfloat16
    assert native.action_out_proj.weight.dtype == native.embed_action_time.state_proj.weight.dtype == torch.float32
    assert policy.act(policy.example(), NOISE).actions.dtype == np.float64
    self_test(policy)


def test_names_of_cameras_are_those_before_renaming(tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "copy")
    config = {"observation.images.base_0_rgb": {"type": "VISUAL", "shape": [3, IMAGE, IMAGE]}}
    state = {"observation.state": {"type": "STATE", "shape": [STATE]}}
    edit_json(folder / "config.json", {"input_features": config | state})
    renaming = {"observation.images.front": "observation.images.base_0_rgb"}
    edit_json(folder / "policy_preprocessor.json", {"steps.0.config.rename_map": renaming})
    assert load(folder, "copy", device="cpu").cameras == ("front",)


# -- conventions -------------------------------------------------------------------------------------------------------
def test_an_unknown_convention_is_asked_for_where_it_matters(tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "copy")
    features = {"observation.images.front": {"type": "VISUAL", "shape": [3, IMAGE, IMAGE]}}
    state = {"observation.state": {"type": "STATE", "shape": [STATE]}}
    edit_json(folder / "config.json", {"input_features": features | state})
    unknown = load(folder, "copy", device="cpu")
    assert unknown.action_spec.kind is ActionKind.UNKNOWN
    assert unknown.act(unknown.example()).actions.shape == (CHUNK, ACTION)
    with pytest.raises(ConventionError, match="--convention"):
        converter(unknown.action_spec, CONVENTIONS["libero"].spec)
    stated = load(folder, "copy", device="cpu", convention="libero")
    assert stated.action_spec == CONVENTIONS["libero"].spec


def test_openpi_conventions(tmp_path: Path) -> None:
    ur5 = load(write_openpi(tmp_path / "ur5", asset="ur5e"), "ur5", device="cpu")
    assert (ur5.action_spec.kind, ur5.action_spec.size, ur5.state_size) == (ActionKind.JOINT_TARGET, 7, 7)
    assert (ur5.action_spec.gripper, ur5.action_spec.rate_hz) == (Gripper.ZERO_OPEN_ONE_CLOSED, 20.0)
    droid = load(write_openpi(tmp_path / "droid", asset="droid"), "droid", device="cpu")
    assert (droid.action_spec.kind, droid.action_spec.size, droid.state_size) == (ActionKind.JOINT_VELOCITY, 8, 8)
    # 0.2 rad per step of 15 Hz
    assert droid.action_spec.scale == pytest.approx((3.0,) * 7)
    assert droid.action_spec.rate_hz == 15.0


# -- offsets -----------------------------------------------------------------------------------------------------------
def added(policy: Pi0Policy) -> tuple[np.ndarray, np.ndarray]:
    """What actions have that un-normalised values have not, [chunk, action], and the state."""
    observation = policy.example(3)
    chunk = policy.act(observation, NOISE)
    assert observation.state is not None
    checkpoint = policy.settings.checkpoint
    return chunk.actions - checkpoint.action.unnormalize(chunk.normalized), observation.state


def test_joint_deltas_become_absolute_targets(tmp_path: Path) -> None:
    offsets, state = added(load(write_openpi(tmp_path / "ur5", asset="ur5e"), "ur5", device="cpu"))
    np.testing.assert_allclose(offsets[:, :6], np.tile(state[:6], (CHUNK, 1)), atol=1e-12)
    assert not offsets[:, 6].any()


def test_joint_velocities_stay_what_they_are(tmp_path: Path) -> None:
    offsets, _ = added(load(write_openpi(tmp_path / "droid", asset="droid"), "droid", device="cpu"))
    assert not offsets.any()


def test_older_libero_models_of_openpi_gave_actions_relative_to_the_state(tmp_path: Path) -> None:
    plain, _ = added(load(write_openpi(tmp_path / "new"), "new", device="cpu"))
    assert not plain.any()
    # The mean of an action minus an axis-angle near (3, 0, 0) lies outside of [-1, 1], where LIBERO's actions are.
    shifted = {"mean": [0.1, 0.0, -0.8, -2.9, 0.2, 0.1, 0.0], "std": [1.0] * 7}
    older, state = added(load(write_openpi(tmp_path / "old", actions=shifted), "old", device="cpu"))
    np.testing.assert_allclose(older[:, :6], np.tile(state[:6], (CHUNK, 1)), atol=1e-12)
    assert not older[:, 6].any()


def test_lerobot_says_which_actions_are_relative(tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "copy")
    edit_json(folder / "policy_postprocessor.json", {"steps.1.config.enabled": True})
    offsets, state = added(load(folder, "copy", device="cpu"))
    np.testing.assert_allclose(offsets, np.tile(state[:ACTION], (CHUNK, 1)), atol=1e-12)
    names = [f"joint_{i}.pos" for i in range(6)] + ["Gripper.pos"]
    edit_json(folder / "policy_preprocessor.json", {"steps.2.config.action_names": names})
    offsets, state = added(load(folder, "copy", device="cpu"))
    np.testing.assert_allclose(offsets[:, :6], np.tile(state[:6], (CHUNK, 1)), atol=1e-12)
    assert not offsets[:, 6].any()


# -- statistics --------------------------------------------------------------------------------------------------------
def test_statistics_are_read_from_the_file_that_the_step_names(policy: Pi0Policy, tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "copy")
    renamed = "policy_preprocessor_step_9_normalizer_processor.safetensors"
    (folder / "statistics.safetensors").rename(folder / renamed)
    edit_json(folder / "policy_preprocessor.json", {"steps.3.state_file": renamed})
    edit_json(folder / "policy_postprocessor.json", {"steps.0.state_file": renamed})
    observation = policy.example()
    assert np.array_equal(answer(folder, observation), policy.act(observation, NOISE).actions)


def test_actions_are_unnormalised(policy: Pi0Policy) -> None:
    chunk = policy.act(policy.example(), NOISE)
    mean, std = (STATISTICS["action"][name] for name in ("mean", "std"))
    np.testing.assert_allclose(chunk.actions, chunk.normalized * std + mean, atol=1e-6)
    assert chunk.actions.shape == (CHUNK, ACTION)


# -- noise -------------------------------------------------------------------------------------------------------------
def test_default_noise_follows_seed_and_time(policy: Pi0Policy, checkpoint: Path) -> None:
    now = policy.example()
    later = replace(now, time_s=0.05)
    assert np.array_equal(policy.act(now).actions, policy.act(now).actions)
    assert not np.array_equal(policy.act(now).actions, policy.act(later).actions)
    other = load(checkpoint, "other", device="cpu", noise_seed=1)
    assert not np.array_equal(policy.act(now).actions, other.act(now).actions)
    batch = policy.act_batch([now, later])
    np.testing.assert_allclose(batch[0].actions, policy.act(now).actions, rtol=0, atol=1e-5)
    np.testing.assert_allclose(batch[1].actions, policy.act(later).actions, rtol=0, atol=1e-5)


def test_one_noise_serves_a_batch(policy: Pi0Policy) -> None:
    observations = [policy.example(0), policy.example(1)]
    shared = policy.act_batch(observations, NOISE)
    each = policy.act_batch(observations, np.stack([NOISE, NOISE]))
    assert all(np.array_equal(one.actions, other.actions) for one, other in zip(shared, each, strict=True))


# -- observations ------------------------------------------------------------------------------------------------------
def test_the_state_and_the_pictures_matter(policy: Pi0Policy) -> None:
    plain = policy.example()
    assert plain.state is not None
    base = policy.act(plain, NOISE).actions
    for other in (
        replace(plain, state=plain.state + 0.5),
        replace(plain, images=plain.images | {"image": 255 - plain.images["image"]}),
        replace(plain, images=plain.images | {"image2": 255 - plain.images["image2"]}),
        replace(plain, instruction="put it down"),
    ):
        assert not np.array_equal(policy.act(other, NOISE).actions, base)


def test_what_the_expert_reads_is_announced(policy: Pi0Policy) -> None:
    seen = [replace(policy.example(i), instruction=words) for i, words in enumerate(("go", "pick up the red block"))]
    policy.act_batch(seen, NOISE)
    valid = policy.inputs(seen).valid
    prefix, actions = (policy.anatomy.contexts[stream].read_from for stream in ("vlm", "expert"))
    assert prefix is not None
    assert actions is not None
    assert 0 < valid[0].sum() < valid[1].sum() < valid.shape[1]  # both are padded
    torch.testing.assert_close(prefix[:, -valid.shape[1] :], valid)
    assert actions.tolist() == [[False] + CHUNK * [True]] * 2  # the state is in front


def test_a_contrast_is_blind_to_padding(policy: Pi0Policy) -> None:
    # Nothing attends to it: that its activations differ says nothing about an action.
    seen = [replace(policy.example(0), instruction=words) for words in ("go fast", "go")]
    feature = contrast_feature(policy, "fast", [(seen[0], seen[1])], layers=[0], noise=NOISE)
    expected = np.zeros(len(feature))
    for one, sign in zip(seen, (1, -1), strict=True):
        with record_activations(policy.anatomy, [policy.anatomy.site("vlm", 0)]) as recorded:
            policy.act(one, NOISE)
        valid = policy.inputs([one]).valid[0]
        (values,) = recorded.passes[policy.anatomy.site("vlm", 0).key]
        expected += sign * values[0, -len(valid) :][valid].mean(0).numpy()
    assert feature.scope == "text+image"
    np.testing.assert_allclose(feature.weights("text"), expected, atol=1e-6)
    with steer(policy, Steering.of(feature, 1.0)):
        steered = policy.act(seen[1], NOISE).normalized
    assert np.abs(steered - policy.act(seen[1], NOISE).normalized).max() > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {}}, r"no image from camera 'image' \(it has: none\)"),
        ({"state": None}, "has no state.*--state"),
        ({"state": np.zeros(7)}, r"state of shape \[7\]. Expected 8"),
        ({"instruction": "very " * 20}, "tokens. Expected at most 40"),
    ],
)
def test_unusable_observations(policy: Pi0Policy, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        policy.act(replace(policy.example(), **change))


def test_weights_that_are_not_finite_are_said_to_be(tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "copy")
    tensors = weights(folder)
    tensors["model.action_out_proj.bias"][0] = torch.inf
    save_file(tensors, folder / "model.safetensors")
    policy = load(folder, "copy", device="cpu")
    with pytest.raises(VlasteerError, match="not finite"):
        policy.act(policy.example())
