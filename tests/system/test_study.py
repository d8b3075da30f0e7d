"""`vlasteer study paper`: the whole battery, small, on the shipped organism; and taking it up again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from vlasteer.launch.cli import main


@pytest.mark.slow
def test_the_battery_runs_reports_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "paper"
    command = ["study", "paper", "--policy", "openvla-nano", "--env", "tabletop_transport", "--out", str(out)]
    command += ["--quick", "--tasks", "0-1", "--rows", "8", "--horizon", "12"]
    assert main(command) == 0
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["study"] for row in rows} == {"reference", "height", "speed", "fast and slow", "up by depth"}
    assert {row["kind"] for row in rows if row["study"] == "height"} == {"prompt", "clamp", "random"}
    assert {row["depth"] for row in rows if row["study"] == "up by depth"} == {"early", "late", "full"}
    # The tabletop is deterministic: the noise floor is nothing at all.
    assert all(float(row["difference"]) == 0 for row in rows if row["condition"] == "unsteered again")
    assert all(row["success"] for row in rows if row["study"] != "speed" and row["study"] != "reference")
    figures = {path.name for path in (out / "figures").iterdir()}
    assert figures == {"height.png", "speed.png", "fast_and_slow.png", "up_by_depth.png"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "not a selection" in page
    assert page.count("<img") == 4
    # A run that was cut off goes on where it was; another configuration is refused.
    episodes = out / "episodes.jsonl"
    lines = episodes.read_bytes().splitlines(keepends=True)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    episodes.write_bytes(b"".join(lines[:-2]))
    assert main(command) == 0
    assert len(episodes.read_bytes().splitlines()) == len(lines)
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))
    for one, other in zip(results["rows"], again["rows"], strict=True):
        assert one["mean"] == pytest.approx(other["mean"], rel=1e-4, abs=1e-4), one["condition"]
    assert main([*command, "--seed", "1"]) == 2
    assert "another configuration" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--episodes", "0"], ["--seed", "-1"], ["--workers", "0"], ["--sizes", "0"]])
def test_bad_options(options: list[str], tmp_path: Path) -> None:
    command = [
        "study",
        "paper",
        "--policy",
        "openvla-nano",
        "--env",
        "tabletop_transport",
        "--out",
        str(tmp_path / "x"),
    ]
    assert main([*command, *options]) == 2
    assert not (tmp_path / "x").exists()
