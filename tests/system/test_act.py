"""`vlasteer act` on the reference checkpoint: what others check parity with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlasteer.launch.cli import main


@pytest.fixture(scope="module")
def references(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "fixtures" / "refs" / "openvla.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def manifest(shared: Path) -> dict:
    return json.loads((shared / "fixtures" / "manifest.json").read_text())["openvla"]


@pytest.fixture(scope="module")
def frames(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("frames")
    with np.load(shared / "fixtures" / "refs" / "images.npz") as archive:
        raw = archive["raw"]
    paths = [folder / f"frame{i}.png" for i in range(len(raw))]
    for path, frame in zip(paths, raw, strict=True):
        Image.fromarray(frame).save(path)
    return paths


def act(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    capsys.readouterr()
    assert main(["act", "--json", *(str(a) for a in arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def case(manifest: dict, frames: list[Path], k: int) -> list[object]:
    image, instruction = manifest["cases"][k]
    words = manifest["instructions"][instruction]
    return ["--image", f"image={frames[image]}", "--instruction", words, "--unnorm-key", manifest["unnorm_key"]]


def test_unsteered_answers_are_the_references(openvla_tiny, references, manifest, frames, capsys) -> None:
    for k in (0, 3, 5):
        answer = act(capsys, "--policy", openvla_tiny, *case(manifest, frames, k))
        assert answer["token_ids"] == references["action_token_ids"][k].tolist()
        np.testing.assert_allclose(answer["actions"], references["actions"][k][None], atol=1e-9)
        np.testing.assert_allclose(answer["actions_normalized"], references["actions_normalized"][k][None], atol=1e-9)
        assert answer["non_action_tokens"] == 0


@pytest.mark.parametrize(
    ("name", "alpha", "mode"),
    [("A_single_layer", 10, "all"), ("B_multi_layer", 4, "all"), ("B_multi_layer", 10, "prefill_only"),
     ("B_multi_layer", 0, "decode_only"), ("D_last_layer_one", 10, "all")],
)  # fmt: skip
def test_raw_clamps_give_the_steered_references(
    openvla_tiny, references, manifest, frames, capsys, name, alpha, mode
) -> None:
    clamp = ",".join(f"{layer}:{neuron}" for layer, neuron in manifest["sets"][name])
    scope = {"all": "all", "prefill_only": "prefill", "decode_only": "decode"}[mode]
    steered = ["--clamp", clamp, "--coefficient", alpha, "--operator", "set", "--scope", scope]
    key = f"steer_{name}_a{alpha}_{mode}"
    for k in (0, 4):
        answer = act(capsys, "--policy", openvla_tiny, *case(manifest, frames, k), *steered)
        assert answer["token_ids"] == references[f"{key}_token_ids"][k].tolist()
        np.testing.assert_allclose(answer["actions"], references[f"{key}_actions"][k][None], atol=1e-9)


def test_activations_are_those_of_the_reference(
    openvla_tiny, references, manifest, frames, capsys, tmp_path: Path
) -> None:
    out = tmp_path / "activations.npz"
    act(capsys, "--policy", openvla_tiny, *case(manifest, frames, 0), "--activations", out)
    with np.load(out) as archive:
        prefill = np.stack([archive[f"vlm.{layer}.pass0"] for layer in range(3)])
        last = np.stack([[archive[f"vlm.{layer}.pass{p}"][-1] for p in range(7)] for layer in range(3)])
    np.testing.assert_allclose(prefill, references["ffn_prefill_full_case0"], atol=2e-4)
    np.testing.assert_allclose(last, references["ffn_last"][0], atol=2e-4)


def test_a_feature_pack_steers_like_its_neurons(openvla_tiny, manifest, frames, capsys, tmp_path: Path) -> None:
    neurons = manifest["sets"]["C_planted_fast_up"]
    pack = tmp_path / "pack.json"
    pack.write_text(json.dumps({"format": "vlasteer-feature-pack/1", "features": {"mine": neurons}}))
    common = ["--policy", openvla_tiny, *case(manifest, frames, 1)]
    packed = act(capsys, *common, "--pack", pack, "--steer", "mine=10")
    raw = act(capsys, *common, "--clamp", ",".join(f"vlm:{a}:{b}" for a, b in neurons), "--coefficient", 10)
    assert packed["token_ids"] == raw["token_ids"]
    assert packed["steering"] == {"mine": 10.0}


def test_libero_image_rotates_a_raw_frame_first(openvla_tiny, manifest, frames, capsys, tmp_path: Path) -> None:
    from vlasteer.policies.openvla.libero_images import libero_image, rotate

    prepared = tmp_path / "prepared.npy"
    np.save(prepared, libero_image(rotate(np.asarray(Image.open(frames[0])))))
    arguments = case(manifest, frames, 0)
    raw = act(capsys, "--policy", openvla_tiny, *arguments, "--libero-image")
    done = act(capsys, "--policy", openvla_tiny, "--image", f"image={prepared}", *arguments[2:])
    assert raw["token_ids"] == done["token_ids"]


def test_the_table_for_people_names_every_dimension(openvla_tiny, manifest, frames, capsys) -> None:
    assert main(["act", "--policy", str(openvla_tiny), *(str(a) for a in case(manifest, frames, 0))]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("x", "yaw", "gripper", "token ids"))
