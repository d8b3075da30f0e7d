"""`vlasteer rollout`, `record` and `replay` together: what was recorded is repeated, asked again, asked otherwise."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlasteer.launch.cli import main
from vlasteer.recording import read_calls, read_steps
from vlasteer.runs import Run


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pack") / "pack.json"
    assert main(["find", "--policy", "openvla-nano", "--concept", "fast", "--concept", "slow", "--out", str(path)]) == 0
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pack: str) -> Path:
    """Episode 0 unsteered, episode 1 with fast=2."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    command = ["rollout", "--policy", "openvla-nano", "--env", "tabletop_transport", "--steer", "fast=2", "--paired"]
    command += ["--pack", pack, "--lossless", "--activations", "vlm:0,2", "--out", str(folder)]
    assert main(command) == 0
    return folder


@pytest.mark.slow
class TestTabletop:
    @pytest.mark.parametrize("episode", ["0", "1"])
    def test_an_episode_is_reproduced_exactly(self, run, episode, capsys):
        assert main(["replay", str(run), "--episode", episode]) == 0
        shown = capsys.readouterr().out
        assert "Reproduced exactly." in shown
        pictures = next(line for line in shown.splitlines() if line.startswith("pictures"))
        assert pictures.split()[1] == pictures.split()[3] != "0"

    def test_the_paper_s_procedure_fast_against_the_same_observations_without(self, run, capsys):
        """Every step that the steered policy asked for is compared with the one that it would have asked for."""
        asked = ["--counterfactual", "fast=0", "--counterfactual", "fast=off", "--instruction", "do it slowly"]
        assert main(["replay", str(run), "--episode", "1", *asked]) == 0
        shown = capsys.readouterr().out
        assert "The policy gave the recorded answers again, exactly." in shown
        steps = read_steps(run, [1]).num_rows
        assert f"identical in {steps} of {steps} calls" in shown
        (folder,) = (run / "replays").iterdir()
        with (folder / "summary.csv").open() as file:
            rows = {row["condition"]: row for row in csv.DictReader(file)}
        assert list(rows) == ["recorded", "asked again", "fast=0", "fast=off", "prompt=do it slowly"]
        length = {name: float(row["length/step"]) for name, row in rows.items()}
        assert length["asked again"] == length["recorded"]
        assert length["fast=0"] < 0.9 * length["recorded"]
        assert length["prompt=do it slowly"] < length["fast=off"]
        # The table is what the steps add up to.
        with (folder / "steps.csv").open() as file:
            moved = [float(row["y (m)"]) for row in csv.DictReader(file) if row["condition"] == "fast=0"]
        assert len(moved) == steps
        assert 1e3 * sum(moved) == pytest.approx(float(rows["fast=0"]["y (mm)"]))
        recorded = np.stack(read_steps(run, [1])["commanded.action"].to_numpy())[:, 1].sum() * 50
        assert float(rows["recorded"]["y (mm)"]) == pytest.approx(recorded)
        assert np.asarray(Image.open(folder / "displacement.png").convert("L")).std() > 10

    def test_a_feature_that_the_run_did_not_steer(self, run, pack, capsys):
        asked = ["--counterfactual", "slow=2,fast=off", "--pack", pack]
        assert main(["replay", str(run), "--episode", "0", *asked]) == 0
        assert "slow=2,fast=off" in capsys.readouterr().out

    def test_activations_are_beside_it(self, run):
        for episode, steered in ((0, False), (1, True)):
            found = Run.load(run).activations(episode)
            calls = list(read_calls(run, episode))
            assert [str(site) for site in found] == ["vlm:0", "vlm:2"]
            assert all(values.shape[0] == 7 for arrays in found.values() for values in arrays)
            assert {call.applied["fast"] for call in calls} == {2.0 if steered else None}
            set_to_two = [np.all(call.activations[site] == 2.0, axis=0).any() for call in calls for site in found]
            assert any(set_to_two) == steered

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--episode", "9"], "no episode 9"),
            (["--counterfactual", "fast"], "feature=coefficient"),
            (["--counterfactual", "fast=quick"], "coefficient 'quick'"),
            (["--counterfactual", "fsat=0", "--pack", "PACK"], "fsat"),
        ],
    )
    def test_mistakes_are_told_in_a_line(self, run, pack, arguments, words, capsys):
        assert main(["replay", str(run), *(pack if word == "PACK" else word for word in arguments)]) == 2
        assert words in capsys.readouterr().err

    def test_without_the_exact_pictures_it_says_why(self, tmp_path, capsys):
        command = ["rollout", "--policy", "openvla-nano", "--env", "tabletop_transport", "--out", str(tmp_path / "run")]
        assert main(command) == 0
        status = main(["replay", str(tmp_path / "run"), "--reinfer"])
        shown = capsys.readouterr().out
        assert ("recorded with loss" in shown) == (status == 1)
        assert main(["replay", str(tmp_path / "run")]) == 0  # the actions are exact all the same


@pytest.mark.slow
def test_the_expert_s_demonstrations_are_recorded_and_repeated(tmp_path, capsys):
    command = ["record", "--env", "tabletop_lift", "--expert", "--manner", "fast,high", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert main([*command, "--episodes", "2"]) == 0  # one more
    shown = capsys.readouterr().out
    assert "1 demonstrations" in shown
    assert "2 demonstrations" in shown
    episodes = Run.load(tmp_path / "run").episodes
    assert episodes["outcome"].tolist() == ["success"] * 2
    assert episodes["start"].tolist() == episodes["plan_index"].tolist() == [0, 1]
    assert main(["replay", str(tmp_path / "run"), "--episode", "1"]) == 0
    assert main(["replay", str(tmp_path / "run"), "--reinfer"]) == 2
    assert "without a policy" in capsys.readouterr().err


@pytest.mark.slow
def test_libero_is_reproduced_exactly_and_the_policy_answers_again(openvla_tiny, shared, tmp_path, capsys):
    (tmp_path / "pack.json").write_text(
        '{"format": "vlasteer-feature-pack/1", "features": {"fast": [[0, 16], [0, 69]]}}'
    )
    assets = ["--assets", str(shared / "libero")]
    command = [
        "rollout", "--policy", str(openvla_tiny), "--env", "libero_goal", *assets, "--fast-render", "--horizon", "5",
        "--steer", "fast=10", "--pack", str(tmp_path / "pack.json"), "--lossless", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(command) == 0
    capsys.readouterr()
    assert main(["replay", str(tmp_path / "run"), *assets]) == 0
    shown = capsys.readouterr().out
    assert "pictures   10 of 10 identical" in shown
    assert "Reproduced exactly." in shown
    assert main(["replay", str(tmp_path / "run"), "--counterfactual", "fast=off"]) == 0
    assert "exactly" in capsys.readouterr().out
