"""The policy: answers, batches, passes, hash, compiled logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from altered import edit_json, edit_tensors

from vlasteer.anatomy import Neuron, record_activations
from vlasteer.errors import ConfigError, ObservationError, VlasteerError
from vlasteer.policies.openvla import load
from vlasteer.policies.openvla.policy import OpenVLAPolicy
from vlasteer.protocols import Policy
from vlasteer.steering import Feature, Steering, steer
from vlasteer.steering.selftest import self_test
from vlasteer.types import ActionKind, Observation


@pytest.fixture(scope="module")
def policy(openvla_tiny: Path) -> OpenVLAPolicy:
    return load(openvla_tiny, "tiny", device="cpu", dtype="float32", unnorm_key="libero_10")


def test_it_fits_the_contract(policy: OpenVLAPolicy) -> None:
    assert isinstance(policy, Policy)
    assert (policy.kind, policy.cameras, policy.state_size) == ("openvla", ("image",), 0)
    assert policy.unnorm_key == "libero_10_no_noops"


def test_an_answer(policy: OpenVLAPolicy) -> None:
    seen = policy.example(3)
    assert np.array_equal(seen.images["image"], policy.example(3).images["image"])
    chunk = policy.act(Observation(seen.images, seen.instruction, time_s=2.5))
    assert chunk.actions.shape == chunk.normalized.shape == (1, 7)
    assert chunk.actions.dtype == chunk.normalized.dtype == np.float64
    assert chunk.token_ids.shape == (7,)
    assert chunk.token_ids.dtype == np.int64
    assert chunk.spec is policy.action_spec
    assert chunk.observed_at_s == 2.5
    assert chunk.inference_s > 0
    assert chunk.non_action_tokens == sum(i not in policy.config.action_ids for i in chunk.token_ids.tolist())


def test_noise_is_refused(policy: OpenVLAPolicy) -> None:
    with pytest.raises(ConfigError, match="noise"):
        policy.act(policy.example(), np.zeros((1, 7), np.float32))


def test_a_missing_camera_is_named(policy: OpenVLAPolicy) -> None:
    seen = Observation({"wrist": np.zeros((8, 8, 3), np.uint8)}, "open the drawer")
    with pytest.raises(ObservationError, match=r"camera 'image' \(the observation has: wrist\)"):
        policy.act(seen)


def test_an_empty_batch_has_no_answers(policy: OpenVLAPolicy) -> None:
    assert policy.act_batch([]) == []


def test_rows_have_to_match_the_observations(policy: OpenVLAPolicy) -> None:
    with pytest.raises(ConfigError, match="2 steering rows for 1 observations"):
        policy.act_batch([policy.example()], rows=[0, 1])


def test_one_step_per_batch_and_one_pass_per_forward(policy: OpenVLAPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    passes: list[tuple[list[str], list[int]]] = []
    begin_pass = policy.context.begin_pass

    def spy(kinds: torch.Tensor, rows: Any) -> None:
        passes.append(([policy.context.kind_names[k] for k in kinds.tolist()], list(rows)))
        begin_pass(kinds, rows)

    monkeypatch.setattr(policy.context, "begin_step", lambda: steps.append(1))
    monkeypatch.setattr(policy.context, "begin_pass", spy)
    image = policy.example().images
    short, long = Observation(image, "push it"), Observation(image, "push the red block far away")
    policy.act_batch([short, long, short], rows=[5, 6, 7])
    assert len(steps) == 1
    assert [rows for _, rows in passes] == [[5, 7]] * 7 + [[6]] * 7
    for first in (0, 7):
        kinds = passes[first][0]
        text = len(policy.tokenizer.encode("push it" if first == 0 else long.instruction, reserve=7))
        assert kinds == ["text"] + ["image"] * 256 + ["text"] * (text - 2) + ["text.last"]
        assert [kinds for kinds, _ in passes[first + 1 : first + 7]] == [[f"decode.{i}"] for i in range(1, 7)]


def test_the_probe_runs_every_site_once(policy: OpenVLAPolicy) -> None:
    with record_activations(policy.anatomy) as seen:
        logits = policy.anatomy.probe()
    assert logits.shape == (256,)
    assert torch.equal(logits, policy.anatomy.probe())
    assert [len(seen.passes[site.key]) for site in policy.anatomy.sites] == [1, 1, 1]


def test_the_token_basis(policy: OpenVLAPolicy) -> None:
    basis = policy.anatomy.token_basis
    assert basis.matrix.shape == (32064, 24)
    assert basis.norm_gain.shape == (24,)
    assert basis.norm_gain.dtype == torch.float32
    assert (basis.action_ids[0], basis.action_ids[-1], len(basis.action_ids)) == (31744, 31999, 256)
    assert basis.undefined_ids == tuple(range(32000, 32064))
    assert basis.label(31999) == "<a -0.996>"
    assert basis.label(basis.ids_of("fast")[0]) == "▁fast"
    piece = basis.piece(31900)
    assert basis.ids_of(piece) == ()  # an action token is no longer the word that it was


def test_bfloat16_acts_and_stays_steerable(openvla_tiny: Path) -> None:
    half = load(openvla_tiny, "tiny", device="cpu", dtype="bfloat16", unnorm_key="libero_10")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert half.model.language_model.model.rotary_emb.inv_freq.dtype == torch.float32
    self_test(half)
    assert np.isfinite(half.act(half.example()).actions).all()


def test_coefficients_that_blow_up_are_reported(openvla_tiny: Path) -> None:
    half = load(openvla_tiny, "tiny", device="cpu", dtype="float16", unnorm_key="libero_10")
    feature = Feature.of("all", [Neuron("vlm", 2, i) for i in range(80)])
    with steer(half, Steering.of(feature, 6e4)), pytest.raises(VlasteerError, match="not finite"):
        half.act(half.example())


# -- checkpoint hash ---------------------------------------------------------------------------------------------------
def test_the_hash_does_not_depend_on_sharding(policy: OpenVLAPolicy, checkpoint: Path) -> None:
    edit_tensors(checkpoint, lambda tensors: None)
    assert not (checkpoint / "model.safetensors.index.json").exists()
    assert load(checkpoint, "copy", device="cpu").checkpoint_hash == policy.checkpoint_hash


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("language_model.model.layers.2.mlp.down_proj.weight", True),
        ("language_model.lm_head.weight", True),
        ("language_model.model.norm.weight", True),
        ("language_model.model.layers.2.mlp.up_proj.weight", False),
    ],
)
def test_the_hash_sees_what_features_depend_on(
    policy: OpenVLAPolicy, checkpoint: Path, key: str, changes: bool
) -> None:
    edit_tensors(checkpoint, lambda tensors: tensors[key].view(-1)[0].add_(1.0) and None)
    assert (load(checkpoint, "copy", device="cpu").checkpoint_hash != policy.checkpoint_hash) is changes


# -- other checkpoints -------------------------------------------------------------------------------------------------
def test_v01(checkpoint_v01: Path) -> None:
    early = load(checkpoint_v01, "v01", device="cpu", unnorm_key="bridge_orig")
    self_test(early)
    assert early.pixels(early.example()).shape == (3, 224, 224)
    chunk = early.act(early.example())
    assert chunk.actions.shape == (1, 7)
    assert chunk.spec.rate_hz == 5.0
    assert not any("fc3" in name for name, _ in early.model.named_parameters())


def test_a_data_set_without_a_known_convention_still_acts(checkpoint: Path) -> None:
    statistics = {"libero_10_no_noops": None}
    edit_json(checkpoint / "dataset_statistics.json", statistics)
    document = '{"my_robot": {"action": {"q01": [0, 0, 0], "q99": [1, 1, 1]}}}'
    (checkpoint / "dataset_statistics.json").write_text(document)
    unknown = load(checkpoint, "copy", device="cpu")
    chunk = unknown.act(unknown.example())
    assert chunk.token_ids.shape == (3,)
    assert chunk.spec.kind is ActionKind.UNKNOWN
    stated = load(checkpoint, "copy", device="cpu", convention="joint_target@10")
    assert stated.action_spec.names == ("joint1", "joint2", "gripper")


def test_a_world_settles_what_the_options_leave_open(openvla_tiny: Path) -> None:
    settled = load(openvla_tiny, "tiny", device="cpu", world="libero_10")
    asked = load(openvla_tiny, "tiny", device="cpu", unnorm_key="libero_10", image_path="libero")
    seen = settled.example()
    assert settled.unnorm_key == "libero_10_no_noops"
    assert torch.equal(settled.pixels(seen), asked.pixels(seen))
    plain = load(openvla_tiny, "tiny", device="cpu", world="libero_10", unnorm_key="bridge_orig", image_path="plain")
    assert plain.unnorm_key == "bridge_orig"
    assert not torch.equal(plain.pixels(seen), asked.pixels(seen))


# -- compilation -------------------------------------------------------------------------------------------------------
def steered_logits(policy: OpenVLAPolicy, rows: list[int]) -> torch.Tensor:
    seen = policy.example(1)
    ids = torch.tensor([policy.tokenizer.encode(seen.instruction, reserve=7)])
    policy.context.begin_step()
    logits = policy.model.generate(
        policy.pixels(seen).expand(len(rows), -1, -1, -1),
        ids.expand(len(rows), -1),
        steps=7,
        context=policy.context,
        rows=rows,
        keep_logits=True,
    ).logits
    assert logits is not None
    return logits


def test_compiled_logits_are_the_eager_ones(policy: OpenVLAPolicy) -> None:
    feature = Feature.of("f", [Neuron("vlm", 0, 3), Neuron("vlm", 2, 7), Neuron("vlm", 2, 8)])
    with steer(policy, Steering.of(feature, 4.0), rows=3) as port:
        port.set("f", None, row=1)
        port.set("f", -6.0, row=2)
        eager = steered_logits(policy, [0, 1, 2])
        policy.compile(backend="aot_eager")
        torch.testing.assert_close(steered_logits(policy, [0, 1, 2]), eager, rtol=0, atol=1e-4)
        with torch._dynamo.config.patch(error_on_recompile=True):
            port.set_all({"f": 9.0})
            changed = steered_logits(policy, [0, 1, 2])
    assert not policy.model.is_compiled
    assert (changed - eager).abs().max() > 0.1
    with steer(policy, Steering.of(feature, 9.0), rows=3):
        torch.testing.assert_close(steered_logits(policy, [0, 1, 2]), changed, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_more_batch_sizes_and_mounts_than_torch_allows_by_default(policy: OpenVLAPolicy) -> None:
    seen = policy.example()
    wanted = policy.act(seen).token_ids.tolist()
    for width in range(1, 11):
        off = Steering.of(Feature.of("f", [Neuron("vlm", 0, i) for i in range(width)]), None)
        with steer(policy, off):
            policy.compile(backend="eager")
            assert [chunk.token_ids.tolist() for chunk in policy.act_batch([seen] * width)] == [wanted] * width
