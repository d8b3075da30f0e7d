"""`vlasteer contrast` on the reference checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlasteer.launch.cli import main


def test_a_contrast_is_shown_and_kept_and_steers(
    openvla_tiny: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pack.json"
    policy = ["--policy", str(openvla_tiny), "--unnorm-key", "libero_10"]
    contrast = ["contrast", *policy, "--on", str(pictures), "--instruction", "open the drawer", "--out", str(out)]
    assert main([*contrast, "--concept", "slow", "--concept", "fast", "--layers", "0", "--k", "7"]) == 0
    shown = capsys.readouterr().out
    assert "slow: 7 neurons by contrast of 2 pairs of instructions" in shown
    assert "'open the drawer slow' and 'open the drawer'" in shown
    assert f"--pack {out} --steer slow=1" in shown
    features = json.loads(out.read_text(encoding="utf-8"))["features"]
    assert set(features) == {"slow", "fast"}
    assert features["slow"]["operator"] == "add"
    assert set(features["slow"]["weights_at"]) == {"text.last", *(f"decode.{i}" for i in range(1, 7))}
    assert {neuron["neuron"].split(":")[1] for neuron in features["slow"]["neurons"]} == {"0"}

    assert main([*contrast, "--concept", "slow", "--against", "opposite", "--name", "slower"]) == 0
    assert "'open the drawer slow' and 'open the drawer fast'" in capsys.readouterr().out
    assert set(json.loads(out.read_text(encoding="utf-8"))["features"]) == {"slow", "fast", "slower"}
    act = ["act", *policy, "--image", str(pictures / "0.png"), "--instruction", "open the drawer"]
    assert main(act) == 0
    plain = capsys.readouterr().out
    assert main([*act, "--pack", str(out), "--steer", "slower=8"]) == 0
    assert capsys.readouterr().out != plain


def test_bad_input(openvla_tiny: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contrast = ["contrast", "--policy", str(openvla_tiny), "--on", str(pictures), "--instruction", "open the drawer"]
    for options, said in (
        (["--concept", "slow", "--concept", "fast", "--name", "x"], "--name names one feature"),
        (["--concept", "slow", "--observations", "0"], "--observations 0"),
        (["--concept", "slow", "--layers", "9"], "--layers"),
        (["--concept", "slow", "--rounds", "0"], "rounds 0"),
        (["--concept", "slow", "--stream", "expert"], "expert"),
        (["--concept", "xyzzy"], "xyzzy"),
    ):
        assert main([*contrast, *options]) == 2, options
        assert said in capsys.readouterr().err, options
    assert main([*contrast[:-2], "--concept", "slow"]) == 2
    assert "--instruction" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))
