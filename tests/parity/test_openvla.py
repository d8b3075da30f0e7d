"""OpenVLA against reference outputs of the official implementation, at the tolerances of the fixtures' manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vlasteer.anatomy import Neuron, record_activations
from vlasteer.policies.openvla import load
from vlasteer.policies.openvla.actions import ActionBins
from vlasteer.policies.openvla.libero_images import centre_crop, jpeg_round_trip, lanczos_resize, libero_image, rotate
from vlasteer.policies.openvla.model import Decoded
from vlasteer.policies.openvla.policy import OpenVLAPolicy
from vlasteer.policies.openvla.prompt import prompt_text
from vlasteer.projection import ProjectionOptions, project
from vlasteer.steering import Feature, Steering, steer
from vlasteer.types import Observation

Arrays = dict[str, NDArray[Any]]
SCOPES = {"all": "all", "prefill_only": "prefill", "decode_only": "decode"}
STEERED = [
    (name, alpha, mode)
    for name, modes in (
        ("A_single_layer", ("all",)),
        ("B_multi_layer", tuple(SCOPES)),
        ("C_planted_fast_up", ("all",)),
        ("D_last_layer_one", ("all",)),
    )
    for alpha in (0, 4, 10)
    for mode in modes
]


def arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def manifest(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "fixtures" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def tolerance(manifest: dict[str, Any]) -> dict[str, float]:
    return manifest["recommended_abs_tolerances_fp32_cpu"]["openvla"]


@pytest.fixture(scope="module")
def reference(shared: Path) -> Arrays:
    return arrays(shared / "fixtures" / "refs" / "openvla.npz")


@pytest.fixture(scope="module")
def images(shared: Path) -> Arrays:
    return arrays(shared / "fixtures" / "refs" / "images.npz")


@pytest.fixture(scope="module")
def policy(openvla_tiny: Path, manifest: dict[str, Any]) -> OpenVLAPolicy:
    key = manifest["openvla"]["unnorm_key"]
    return load(openvla_tiny, "openvla-tiny", device="cpu", dtype="float32", unnorm_key=key)


@pytest.fixture(scope="module")
def observations(images: Arrays, manifest: dict[str, Any]) -> list[Observation]:
    return cases(images["raw"], manifest)


def cases(frames: NDArray[np.uint8], manifest: dict[str, Any]) -> list[Observation]:
    tasks = manifest["openvla"]["instructions"]
    return [Observation({"image": frames[image]}, tasks[task]) for image, task in manifest["openvla"]["cases"]]


def decode(policy: OpenVLAPolicy, observation: Observation) -> Decoded:
    policy.context.begin_step()
    return policy.model.generate(
        policy.pixels(observation)[None],
        torch.tensor([policy.tokenizer.encode(observation.instruction, reserve=7)]),
        steps=7,
        context=policy.context,
        rows=[0],
        keep_logits=True,
    )


def logits(policy: OpenVLAPolicy, observation: Observation) -> NDArray[np.float32]:
    kept = decode(policy, observation).logits
    assert kept is not None
    return kept[0].numpy()


def close(found: Any, wanted: NDArray[Any], atol: float) -> None:
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=atol)


def chosen(manifest: dict[str, Any], name: str) -> Feature:
    return Feature.of(name, [Neuron("vlm", *pair) for pair in manifest["openvla"]["sets"][name]])


# -- inputs ------------------------------------------------------------------------------------------------------------
def test_pixel_values(policy: OpenVLAPolicy, reference: Arrays, images: Arrays, tolerance: dict[str, float]) -> None:
    found = np.stack([policy.pixels(Observation({"image": frame}, "x")).numpy() for frame in images["raw"]])
    close(found, reference["pixel_values"], tolerance["pixel_values"])


@pytest.mark.parametrize("task", [0, 1])
def test_prompts(policy: OpenVLAPolicy, reference: Arrays, manifest: dict[str, Any], task: int) -> None:
    facts = manifest["openvla"]
    assert prompt_text(facts["instructions"][task], policy.config.prompt_style) == facts["prompts"][task]
    ids = policy.tokenizer.encode(facts["instructions"][task], reserve=7)
    assert ids == reference[f"prompt_ids_with_29871_{task}"].tolist()
    assert ids[:-1] == reference[f"prompt_ids_{task}"].tolist()


# -- the network -------------------------------------------------------------------------------------------------------
@torch.no_grad()
def test_vision_and_projector(policy: OpenVLAPolicy, reference: Arrays, tolerance: dict[str, float]) -> None:
    features = policy.model.vision_backbone(torch.from_numpy(reference["pixel_values"]))
    close(features, reference["vision_features"], tolerance["vision_features"])
    close(policy.model.projector(features), reference["projector_output"], tolerance["projector_output"])


def activations(policy: OpenVLAPolicy, observations: Sequence[Observation]) -> tuple[NDArray[Any], NDArray[Any]]:
    """[cases, layers, passes, neurons] at the last position, and [layers, positions, neurons] of case 0's prefill."""
    last, whole = [], np.zeros(0)
    for observation in observations:
        with record_activations(policy.anatomy) as seen:
            decode(policy, observation)
        layers = [seen.passes[site.key] for site in policy.anatomy.sites]
        last.append([[one_pass[0, -1].numpy() for one_pass in passes] for passes in layers])
        if len(last) == 1:
            whole = np.stack([passes[0][0].numpy() for passes in layers])
    return np.array(last), whole


def test_ffn_activations(
    policy: OpenVLAPolicy, reference: Arrays, observations: list[Observation], tolerance: dict[str, float]
) -> None:
    last, whole = activations(policy, observations)
    close(last, reference["ffn_last"], tolerance["ffn"])
    close(whole, reference["ffn_prefill_full_case0"], tolerance["ffn"])


def test_logits(
    policy: OpenVLAPolicy, reference: Arrays, observations: list[Observation], tolerance: dict[str, float]
) -> None:
    tail = policy.config.action_ids.start
    found = np.stack([logits(policy, observation) for observation in observations])
    close(found[:, :, tail:], reference["step_logits_action_tail"], tolerance["logits"])
    close(found[0, 0], reference["first_logits_full_case0"], tolerance["logits"])
    two_best = np.sort(found, axis=-1)[..., -2:]
    close(two_best[..., 1] - two_best[..., 0], reference["top1_margin"], 2 * tolerance["logits"])


def test_black_and_white_images_give_other_action_logits(policy: OpenVLAPolicy) -> None:
    black, white = (
        logits(policy, Observation({"image": np.full((256, 256, 3), grey, np.uint8)}, "open the drawer"))[0]
        for grey in (0, 255)
    )
    assert np.abs(black - white)[policy.config.action_ids].max() > 0.1


# -- actions -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batched", [False, True])
def test_actions(
    policy: OpenVLAPolicy,
    reference: Arrays,
    observations: list[Observation],
    tolerance: dict[str, float],
    batched: bool,
) -> None:
    chunks = policy.act_batch(observations) if batched else [policy.act(seen) for seen in observations]
    same_actions(chunks, reference, "action_token_ids", "actions", tolerance)
    close([c.normalized[0] for c in chunks], reference["actions_normalized"], tolerance["actions (given equal ids)"])


def same_actions(chunks: list[Any], reference: Arrays, ids: str, actions: str, tolerance: dict[str, float]) -> None:
    assert np.array_equal([chunk.token_ids for chunk in chunks], reference[ids])
    close([chunk.actions[0] for chunk in chunks], reference[actions], tolerance["actions (given equal ids)"])


def test_actions_of_another_data_set(
    openvla_tiny: Path, reference: Arrays, observations: list[Observation], tolerance: dict[str, float]
) -> None:
    bridge = load(openvla_tiny, "openvla-tiny", device="cpu", unnorm_key="bridge_orig")
    chunks = [bridge.act(seen) for seen in observations]
    same_actions(chunks, reference, "action_token_ids", "actions_bridge_orig", tolerance)


def test_decoding_of_edge_cases(policy: OpenVLAPolicy, reference: Arrays) -> None:
    assert np.array_equal(ActionBins.of(policy.config).decode(reference["decode_ids"]), reference["decode_normalized"])


# -- steering ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "alpha", "mode"), STEERED)
def test_steered_actions(
    policy: OpenVLAPolicy,
    reference: Arrays,
    manifest: dict[str, Any],
    observations: list[Observation],
    tolerance: dict[str, float],
    name: str,
    alpha: int,
    mode: str,
) -> None:
    key = f"steer_{name}_a{alpha}_{mode}"
    tail = policy.config.action_ids.start
    with steer(policy, Steering.of(chosen(manifest, name), alpha, scope=SCOPES[mode])):
        chunks = [policy.act(seen) for seen in observations]
        found = np.stack([logits(policy, seen) for seen in observations])
    same_actions(chunks, reference, f"{key}_token_ids", f"{key}_actions", tolerance)
    close([c.normalized[0] for c in chunks], reference[f"{key}_actions_normalized"], 1e-9)
    close(found[:, 0, tail:], reference[f"{key}_first_logits_action_tail"], tolerance["logits_steered"])
    two_best = np.sort(found, axis=-1)[..., -2:]
    close(two_best[..., 1] - two_best[..., 0], reference[f"{key}_top1_margin"], 2 * tolerance["logits_steered"])


def test_steered_activations_and_full_logits(
    policy: OpenVLAPolicy,
    reference: Arrays,
    manifest: dict[str, Any],
    observations: list[Observation],
    tolerance: dict[str, float],
) -> None:
    key = "steer_B_multi_layer_a10_all"
    with steer(policy, Steering.of(chosen(manifest, "B_multi_layer"), 10.0)):
        last, _ = activations(policy, observations)
        first = logits(policy, observations[0])[0]
    close(last, reference[f"{key}_ffn_last"], tolerance["ffn"])
    close(first, reference[f"{key}_first_logits_full_case0"], tolerance["logits_steered"])


# -- LIBERO's image path -----------------------------------------------------------------------------------------------
def levels(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> NDArray[np.int64]:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype == np.uint8
    return np.abs(found.astype(np.int64) - wanted)


def test_jpeg_stage(images: Arrays) -> None:
    found = np.stack([jpeg_round_trip(rotate(frame)) for frame in images["raw"]])
    difference = levels(found, images["jpeg_roundtrip"])
    assert difference.max() <= 15
    assert difference.mean() <= 1.1


def test_lanczos_stage(images: Arrays) -> None:
    difference = levels(np.stack([lanczos_resize(frame) for frame in images["jpeg_roundtrip"]]), images["lanczos224"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


def test_crop_stage(images: Arrays) -> None:
    difference = levels(np.stack([centre_crop(frame) for frame in images["lanczos224"]]), images["crop224"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.0001


def test_whole_libero_path(openvla_tiny: Path, policy: OpenVLAPolicy, images: Arrays) -> None:
    found = np.stack([libero_image(rotate(frame)) for frame in images["raw"]])
    difference = levels(found, images["crop224"])
    assert difference.max() <= 15
    assert difference.mean() <= 1.1
    evaluated = load(openvla_tiny, "tiny", device="cpu", unnorm_key="libero_10", image_path="libero_raw")
    raw = Observation({"image": images["raw"][0]}, "x")
    assert torch.equal(evaluated.pixels(raw), policy.pixels(Observation({"image": found[0]}, "x")))


def test_libero_actions(
    policy: OpenVLAPolicy,
    reference: Arrays,
    images: Arrays,
    manifest: dict[str, Any],
    tolerance: dict[str, float],
) -> None:
    observations = cases(images["crop224"], manifest)
    close(policy.pixels(observations[0]), reference["libero_pixel_values_image0"], tolerance["pixel_values"])
    chunks = [policy.act(seen) for seen in observations]
    same_actions(chunks, reference, "libero_action_token_ids", "libero_actions", tolerance)
    found = np.stack([logits(policy, seen) for seen in observations])
    tail = policy.config.action_ids.start
    close(found[:, :, tail:], reference["libero_step_logits_action_tail"], tolerance["logits"])
    two_best = np.sort(found, axis=-1)[..., -2:]
    close(two_best[..., 1] - two_best[..., 0], reference["libero_top1_margin"], 2 * tolerance["logits"])


# -- value vectors -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("variant", "fold"), [("raw", False), ("gamma", True)])
def test_value_vectors(
    policy: OpenVLAPolicy, reference: Arrays, tolerance: dict[str, float], variant: str, fold: bool
) -> None:
    projection = project(policy.anatomy, ProjectionOptions(top_k=30, fold_norm=fold))
    for row, (layer, index) in enumerate(reference["value_pairs"].tolist()):
        ids, scores = zip(*projection.top(Neuron("vlm", layer, index)), strict=True)
        assert list(ids) == reference[f"value_{variant}_top30_ids"][row].tolist()
        close(scores, reference[f"value_{variant}_top30_logits"][row], tolerance["value logits"])


def test_planted_value_vectors_read_as_their_words(policy: OpenVLAPolicy, manifest: dict[str, Any]) -> None:
    projection = project(policy.anatomy, ProjectionOptions(top_k=30))
    for planted in manifest["openvla"]["planted_value_vectors"]:
        top = projection.top(Neuron("vlm", planted["layer"], planted["neuron"]))
        assert {policy.anatomy.token_basis.piece(token) for token, _ in top} >= set(planted["tokens"])


def test_every_reference_array_is_compared(reference: Arrays, images: Arrays) -> None:
    """A new array in the fixtures has to get a test here."""
    steered = {f"steer_{name}_a{alpha}_{mode}" for name, alpha, mode in STEERED}
    suffixes = ("token_ids", "actions", "actions_normalized", "first_logits_action_tail", "top1_margin")
    known = {f"{key}_{suffix}" for key in steered for suffix in suffixes}
    known |= {f"steer_B_multi_layer_a10_all_{suffix}" for suffix in ("first_logits_full_case0", "ffn_last")}
    source = Path(__file__).read_text()
    assert not [name for name in reference if name not in known and not _quoted(name, source)]
    assert set(images) == {"raw", "jpeg_roundtrip", "lanczos224", "crop224", *(f"jpeg_bytes_{i}" for i in range(3))}


def _quoted(name: str, source: str) -> bool:
    generic = name.replace("_gamma_", "_{variant}_").replace("_raw_", "_{variant}_")
    numbered = name.rstrip("01") + "{task}"
    return any(f'"{form}"' in source for form in (name, generic, numbered))
