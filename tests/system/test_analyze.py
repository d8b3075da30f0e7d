"""`vlasteer analyze` from recorded runs to a page that stands by itself."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recorded_runs import RunMaker, paired_run, rollout_config, straight

from vlasteer.launch.cli import main
from vlasteer.types import Outcome


class Reader(HTMLParser):
    """Text of a page, what it refers to, and its pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.references, self.tags = "", [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data):
        self.text += data


def stands_alone(page: Reader) -> None:
    assert page.references
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", page.source))
    assert "script" not in page.tags


def test_a_paired_run_with_random_draws(tmp_path, capsys):
    run = paired_run(tmp_path / "fast", random=2)
    assert main(["analyze", str(run)]) == 0
    seen, look, then = capsys.readouterr().out.strip().splitlines()
    assert seen == "Seen:      fast = 2: steps 17 % longer (as named)."
    assert look == f"Look at:   {run}/report.html"
    assert "--random 20" in then
    page = Reader(run / "report.html")
    stands_alone(page)
    for told in (
        "Step length 13.5 mm, unsteered 11.5: +2.0 mm, 95 % interval +2.0 to +2.0 (4 pairs, equal length).",
        "Beyond both random draws (+0.0 to +0.1 mm).",
        "4 of 4",
        "Few episodes",
        "path length (mm)",
        "abc",  # the checkpoint's hash
        "vlm:1:5",
    ):
        assert told in page.text
    assert page.tags.count("img") == 9  # two forests, two starts of three arms, motion over time
    assert len(page.source) < 1_500_000
    names = {path.name for path in (run / "report").iterdir()}
    assert names == {
        f"{table}.{kind}" for table in ("effects", "conditions", "episodes", "steps") for kind in ("csv", "parquet")
    }
    effects = pd.read_parquet(run / "report" / "effects.parquet").query("quantity == 'step_length_mm' and draw.isna()")
    assert effects["difference"].tolist() == pytest.approx([2, 2])
    assert main(["analyze", str(run)]) == 0  # again, into the same place


def test_several_runs_in_one_page(tmp_path, capsys):
    runs = [paired_run(tmp_path / f"fast{c}", starts=2, coefficient=c) for c in (1.0, 2.0, 4.0)]
    assert main(["analyze", *map(str, runs), "--out", str(tmp_path / "all")]) == 0
    assert "fast = 1: steps 19 % longer (as named, no null); fast = 2" in capsys.readouterr().out
    page = Reader(tmp_path / "all" / "report.html")
    stands_alone(page)
    assert "The effect of fast over its coefficient" in page.text
    for name in ("fast1.0", "fast2.0", "fast4.0"):
        assert f"Run {name}" in page.text
    assert not (runs[0] / "report.html").exists()


def test_over_steered_interrupted_and_broken(tmp_path, capsys):
    run = RunMaker(tmp_path / "run", rollout_config(20, starts=[0, 1, 2]))
    for start in range(2):
        run.episode("unsteered", start, straight(10, 6))
        run.episode("steered", start, straight(30, 6), Outcome.HORIZON, knobs={"fast": 20}, foreign=7)
    run.episode("unsteered", 2, straight(10, 6), Outcome.FAILED)
    run.episode("steered", 2, straight(10, 3), Outcome.RUNNING, knobs={"fast": 20})
    assert main(["analyze", str(run.close())]) == 0
    assert "fast = 20: no effect can be claimed (over-steered)" in capsys.readouterr().out
    page = Reader(tmp_path / "run" / "report.html")
    stands_alone(page)
    assert "16.7 % of the tokens are no actions" in page.text
    assert "Not all planned episodes are finished" in page.text
    assert "(4 of 6)" in page.text
    assert "longer" not in page.text.partition("Findings")[2].partition("To try next")[0]


def test_a_session_with_turned_knobs(tmp_path, capsys):
    run = RunMaker(tmp_path / "run", {"command": "drive", "robot": "twin", "steering": [{"feature": "fast"}]})
    knob = np.repeat([np.nan, 1.0, 3.0], 15)
    extras = {"knob.fast.setpoint": knob, "speed": np.repeat([1, 0.5, 1], 15), "mark": np.repeat([0, 1, 1], 15)}
    run.episode("live", 0, straight(5, 45), Outcome.STOPPED, knobs={"fast": knob}, extras=extras)
    assert main(["analyze", str(run.close())]) == 0
    assert "fast turned while it ran" in capsys.readouterr().out
    page = Reader(tmp_path / "run" / "report.html")
    stands_alone(page)
    assert "Motion while fast stood at each value" in page.text
    assert "Dashed: marks" in page.text
    with (tmp_path / "run" / "report" / "knobs.csv").open(newline="") as file:
        assert [row["value"] for row in csv.DictReader(file)] == ["", "1.0", "3.0"]


def test_one_episode_without_positions_or_videos(tmp_path, capsys):
    run = RunMaker(tmp_path / "run", rollout_config(paired=False), states=("a", "b", "c"))
    run.episode("steered", 0, straight(5, 2), knobs={"fast": 2})
    for video in run.close().rglob("*.mp4"):
        video.unlink()
    assert main(["analyze", str(tmp_path / "run")]) == 0
    assert "nothing to compare with" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "no end-effector position" in page
    assert "The videos of this run cannot be read" in page


def test_what_cannot_be_analysed(tmp_path, capsys):
    empty = RunMaker(tmp_path / "empty", rollout_config()).close()
    for arguments, told in (
        ([], "no run was given"),
        ([tmp_path / "absent"], "is no run folder"),
        ([empty], "holds no finished episode yet"),
        ([empty, empty], "given twice"),
    ):
        assert main(["analyze", *map(str, arguments)]) == 2
        assert told in capsys.readouterr().err
    run = paired_run(tmp_path / "run", starts=1)
    (tmp_path / "file").write_text("")
    assert main(["analyze", str(run), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
