"""Mistakes that people make: each gets one clear line and exit status 2."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vlasteer.launch.cli import main


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "frame.npy"
    np.save(path, np.zeros((224, 224, 3), np.uint8))
    return path


@pytest.fixture
def act(openvla_tiny: Path, frame: Path) -> list[str]:
    return [
        "act", "--policy", str(openvla_tiny), "--image", f"image={frame}", "--instruction", "open the drawer",
        "--unnorm-key", "bridge_orig",
    ]  # fmt: skip


@pytest.fixture
def rollout(openvla_tiny: Path, shared: Path, tmp_path: Path) -> list[str]:
    return [
        "rollout", "--policy", str(openvla_tiny), "--env", "libero_goal", "--out", str(tmp_path / "run"),
        "--assets", str(shared / "libero"),
    ]  # fmt: skip


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a wrong command gets."""
    capsys.readouterr()
    assert main(arguments) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("vlasteer: error: ")]
    assert len(lines) == 1
    assert "Traceback" not in printed.err
    assert printed.out == ""
    return lines[0]


def replaced(arguments: list[str], option: str, value: object) -> list[str]:
    changed = list(arguments)
    changed[changed.index(option) + 1] = str(value)
    return changed


def test_no_such_checkpoint(act, tmp_path, capsys) -> None:
    assert "no checkpoint folder" in refused(replaced(act, "--policy", tmp_path / "none"), capsys)


def test_an_unknown_hub_name_offline(act, capsys, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = refused(replaced(act, "--policy", "openvla/openvla-7b-of-nobody"), capsys)
    assert "hf download" in line


def test_truncated_weights(act, openvla_tiny, tmp_path, capsys) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(openvla_tiny, folder)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.chmod(0o644)
    os.truncate(shard, shard.stat().st_size - 10)
    assert "model-00002-of-00003.safetensors is truncated" in refused(replaced(act, "--policy", folder), capsys)


def test_a_foreign_feature_pack(act, tmp_path, capsys) -> None:
    pack = {"format": "vlasteer-feature-pack/1", "checkpoint": {"hash": "0" * 64}, "features": {"fast": [[0, 1]]}}
    (tmp_path / "pack.json").write_text(json.dumps(pack))
    line = refused([*act, "--pack", str(tmp_path / "pack.json"), "--steer", "fast=8"], capsys)
    assert "another checkpoint" in line


def test_an_unknown_suite_names_the_closest(rollout, capsys) -> None:
    assert "Did you mean 'libero_goal'?" in refused(replaced(rollout, "--env", "libero_gaol"), capsys)


def test_a_concept_that_is_no_token(openvla_tiny, tmp_path, capsys) -> None:
    arguments = ["find", "--policy", str(openvla_tiny), "--out", str(tmp_path / "p.json"), "--concept"]
    assert "zqxjkvqz" in refused([*arguments, "zqxjkvqz"], capsys)


@pytest.mark.parametrize("clamp", ["0:80", "3:0", "vlm:0:-1", "expert:0:0", "240", "first"])
def test_neurons_out_of_range(act, clamp, capsys) -> None:
    assert "Expected" in refused([*act, "--clamp", clamp, "--coefficient", "10"], capsys)


@pytest.mark.parametrize("coefficient", ["nan", "inf"])
def test_coefficients_that_are_not_finite(act, coefficient, capsys) -> None:
    assert "finite" in refused([*act, "--clamp", "0:1", "--coefficient", coefficient], capsys)
    assert "finite" in refused([*act, "--steer", f"fast={coefficient}"], capsys)


def test_missing_assets(rollout, tmp_path, capsys) -> None:
    (tmp_path / "assets").mkdir()
    assert "hf download" in refused(replaced(rollout, "--assets", tmp_path / "assets"), capsys)


def test_unwritable_output(rollout, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(replaced(rollout, "--out", tmp_path / "file" / "run"), capsys)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert "holds something" in refused(replaced(rollout, "--out", tmp_path / "full"), capsys)


def test_a_missing_or_unreadable_image(act, tmp_path, capsys) -> None:
    assert "no image" in refused(replaced(act, "--image", "image=none.png"), capsys)
    (tmp_path / "text.png").write_text("not a picture")
    assert "cannot be read as an image" in refused(replaced(act, "--image", tmp_path / "text.png"), capsys)
    np.save(tmp_path / "grey.npy", np.zeros((8, 8), np.uint8))
    assert "uint8 [height, width, 3]" in refused(replaced(act, "--image", tmp_path / "grey.npy"), capsys)


def test_a_camera_that_the_policy_does_not_have(act, frame, capsys) -> None:
    assert "image" in refused(replaced(act, "--image", f"wrist={frame}"), capsys)


def test_a_wrong_or_missing_unnorm_key_lists_the_keys(act, capsys) -> None:
    assert "libero_10_no_noops" in refused(replaced(act, "--unnorm-key", "bridge"), capsys)
    line = refused([a for a in act if a not in ("--unnorm-key", "bridge_orig")], capsys)
    assert "bridge_orig, libero_10_no_noops" in line


def test_options_that_contradict_each_other(act, rollout, capsys) -> None:
    assert "--steer" in refused([*act, "--scope", "decode"], capsys)
    assert "--clamp" in refused([*act, "--coefficient", "3"], capsys)
    assert "--coefficient" in refused([*act, "--clamp", "0:1"], capsys)
    assert "--steer" in refused([*rollout, "--paired"], capsys)
    assert "--paired" in refused([*rollout, "--random", "2"], capsys)
    assert "at least 1" in refused([*rollout, "--episodes", "0"], capsys)


def test_tasks_and_starts_out_of_range(rollout, capsys) -> None:
    assert "0 to 9" in refused([*rollout, "--tasks", "0,10"], capsys)
    assert "indices" in refused([*rollout, "--tasks", "first"], capsys)
    assert "0 to 49" in refused([*rollout, "--starts", "50"], capsys)
    assert "at most 50" in refused([*rollout, "--episodes", "51"], capsys)


def test_a_policy_of_another_convention(rollout, capsys) -> None:
    assert "5 Hz" in refused([*rollout, "--unnorm-key", "bridge_orig"], capsys)
