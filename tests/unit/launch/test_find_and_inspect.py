"""`vlasteer find` and `vlasteer inspect` on the reference checkpoint."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from vlasteer.launch.cli import main
from vlasteer.launch.find import find_features
from vlasteer.registry import load_policy
from vlasteer.steering import FeaturePack


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache of the tests' own, so that the second command finds what the first one kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLASTEER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def neurons(path: Path, name: str) -> list[str]:
    feature = json.loads(path.read_text(encoding="utf-8"))["features"][name]
    return [item if isinstance(item, str) else item["neuron"] for item in feature["neurons"]]


def test_find_writes_and_extends_a_pack_and_shows_the_evidence(
    openvla_tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "pack.json"
    find = ["find", "--policy", str(openvla_tiny), "--out", str(out)]
    assert main([*find, "--concept", "fast", "--concept", "slow", "--k", "2"]) == 0
    shown = capsys.readouterr().out
    assert neurons(out, "slow") == ["vlm:1:14", "vlm:0:18"]
    assert set(neurons(out, "fast")) <= {"vlm:0:16", "vlm:0:69", "vlm:0:48", "vlm:0:3"}
    assert "words that are single tokens: slow (▁slow slow), slowly" in shown
    assert "words that are not: slower" in shown
    assert "vlm:1:14" in shown
    assert "list an antonym" in shown
    assert shown.strip().splitlines()[-1].startswith(f"The features are in {out} (fast, slow)")
    assert (
        main([*find, "--concept", "up", "--minus", "down", "--method", "semantic", "--k", "4", "--scope", "decode"])
        == 0
    )
    assert "centroid cosine" in capsys.readouterr().out
    document = json.loads(out.read_text(encoding="utf-8"))
    assert list(document["features"]) == ["fast", "slow", "up-down"]
    assert document["features"]["up-down"]["scope"] == "decode"
    assert document["features"]["up-down"]["evidence"]["options"]["k"] == 4


def test_find_calibrates_on_pictures(
    openvla_tiny: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pack.json"
    calibrate = ["--calibrate", str(pictures), "--instruction", "lift it", "--unnorm-key", "bridge_orig"]
    find = ["find", "--policy", str(openvla_tiny), "--concept", "fast", "--k", "3", "--out", str(out)]
    assert main([*find, *calibrate]) == 0
    assert "natural activation at" in capsys.readouterr().out
    policy = load_policy(openvla_tiny, self_test=False)
    feature = FeaturePack.load(out, policy.anatomy, policy.checkpoint_hash)["fast"]
    assert feature.evidence["calibration"]["observations"] == 2
    for item in feature.neurons:
        assert list(item.quantiles) == sorted(item.quantiles)
        assert list(item.quantiles.values()) == sorted(item.quantiles.values())
        assert item.quantiles[0.0] < item.quantiles[1.0]


def test_find_without_out_writes_nothing(
    openvla_tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["find", "--policy", str(openvla_tiny), "--concept", "left"]) == 0
    assert "Nothing was written" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concept", "upwardly"], "tried ▁upwardly, upwardly"),
        (["--concept", "fast", "--k", "0"], "k 0"),
        (["--concept", "fast", "--scope", "everywhere"], "unknown scope 'everywhere'"),
        (["--concept", "fast", "--concept", "slow", "--name", "x"], "--name names one feature"),
        (["--concept", "fast", "--instruction", "x"], "--instruction belongs to --calibrate"),
        (["--concept", "fast", "--lexicon", "absent.json"], "there is no lexicon at absent.json"),
        (["--concept", "fast", "--out", "/proc/none/pack.json"], "cannot be written"),
        (["--concept", " "], "an empty concept"),
    ],
)
def test_bad_input_of_find_is_one_line_and_status_2(
    openvla_tiny: Path, arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["find", "--policy", str(openvla_tiny), *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("vlasteer: error: ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_a_pack_of_another_checkpoint_is_not_extended(
    openvla_tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign.json"
    body = {"format": "vlasteer-feature-pack/1", "checkpoint": {"hash": "0" * 64}, "features": {"x": ["0:1"]}}
    foreign.write_text(json.dumps(body))
    assert main(["find", "--policy", str(openvla_tiny), "--concept", "fast", "--out", str(foreign)]) == 2
    assert "made for another checkpoint" in capsys.readouterr().err
    assert json.loads(foreign.read_text()) == body


def test_features_can_be_found_on_the_way(openvla_tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = load_policy(openvla_tiny, self_test=False)
    pack = find_features(policy, ["fast", "slow"])
    assert list(pack) == ["fast", "slow"]
    assert pack.checkpoint_hash == policy.checkpoint_hash
    assert "Feature 'fast' was found now" in capsys.readouterr().err


def test_inspect_writes_tables_and_a_plot(
    openvla_tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "inspection"
    arguments = ["--policy", str(openvla_tiny), "--out", str(out), "--neurons", "0:69,133", "--null-vectors", "32"]
    assert main(["inspect", *arguments]) == 0
    shown = capsys.readouterr().out
    assert shown.strip().splitlines()[-1].startswith(f"The results are in {out}: ")
    with (out / "action_tokens.csv").open(encoding="utf-8") as stream:
        actions = list(csv.DictReader(stream))
    assert [row["layer"] for row in actions] == ["0", "1", "2"]
    assert float(actions[0]["top_10"]) == pytest.approx(0.745)
    with (out / "neurons.csv").open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert [row[0] for row in rows[1:]] == ["vlm:0:69", "vlm:1:53"]
    assert rows[1][1].startswith("▁quickly 2.12")
    with (out / "patterns.csv").open(encoding="utf-8") as stream:
        assert {"any", "any_null", "concept", "stem_null"} <= set(next(csv.reader(stream)))
    facts = json.loads((out / "inspection.json").read_text())
    assert facts["projection"] == {"top_k": 100, "fold_norm": False, "centre": False, "drop": "nothing"}
    with Image.open(out / "inspection.png") as image:
        assert image.width > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-n", "10,x"], "--top-n 10,x"),
        (["--top-n", "0"], "--top-n 0"),
        (["--null-vectors", "0"], "--null-vectors 0"),
        (["--neurons", "0:99999"], "neuron 99999"),
    ],
)
def test_bad_input_of_inspect_is_one_line_and_status_2(
    openvla_tiny: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--policy", str(openvla_tiny), "--out", str(tmp_path / "o"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_inspect_into_a_file_is_refused(openvla_tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["inspect", "--policy", str(openvla_tiny), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be made" in capsys.readouterr().err
