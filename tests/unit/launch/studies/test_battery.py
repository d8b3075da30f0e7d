"""The paper's battery: rows of results from motions, the published figures, and the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlasteer.comparison import EpisodeMotion
from vlasteer.launch.studies.figures import draw_all
from vlasteer.launch.studies.published import beside_published, is_published
from vlasteer.launch.studies.report import report
from vlasteer.studies import Condition
from vlasteer.studies.paper import AGAIN, UNSTEERED, Cell, Grid, commanded_results, results_of
from vlasteer.types import EpisodeKey, Outcome


def motions(arm: str, length_mm: float, *, count: int = 3, success: bool = True, foreign: int = 0):
    outcome = Outcome.SUCCESS if success else Outcome.HORIZON
    steps = np.full((10, 3), 1e-3 * length_mm / np.sqrt(3))
    return [
        EpisodeMotion(arm, EpisodeKey(0, i, 0), outcome, np.cumsum(steps, 0), steps, 70, foreign) for i in range(count)
    ]


CELLS = [
    Cell(Condition(UNSTEERED), "reference", "unsteered", 3),
    Cell(Condition(AGAIN), "reference", "unsteered", 3),
    Cell(Condition("say low", adverb="low"), "height", "prompt", 3, "low"),
    *(Cell(Condition(f"low x~{i}", {"low": 2.0}), "height", "random", 2, "low", "full", 6, 2.0) for i in range(2)),
    Cell(Condition("fast 10"), "fast and slow", "clamp", 3, "fast", "full", 10, 2.0),
    Cell(Condition("slow 10"), "fast and slow", "clamp", 3, "slow", "full", 10, 2.0),
    Cell(Condition("up 10"), "up by depth", "clamp", 3, "up", "early", 10, 2.0),
]
FOUND = {
    UNSTEERED: motions(UNSTEERED, 10.0),
    AGAIN: motions(AGAIN, 10.0),
    "say low": motions("say low", 8.0, success=False, foreign=7),
    "low x~0": motions("low x~0", 9.0, count=2),
    "low x~1": motions("low x~1", 12.0, count=2),
    "fast 10": motions("fast 10", 15.0),
    "slow 10": motions("slow 10", 5.0),
    "up 10": motions("up 10", 10.0),
}


def row(rows: list[dict], condition: str, measure: str = "commanded step (mm)") -> dict:
    (found,) = [r for r in rows if (r["condition"], r["measure"]) == (condition, measure)]
    return found


def test_rows_stand_beside_the_unsteered_reference() -> None:
    rows = results_of(CELLS, FOUND)
    assert row(rows, AGAIN)["difference"] == 0
    said = row(rows, "say low")
    assert (said["mean"], said["reference"], said["difference"]) == pytest.approx((8.0, 10.0, -2.0))
    assert (said["success"], said["reference_success"], said["non_action"]) == pytest.approx((0.0, 1.0, 0.1))
    drawn = row(rows, "random low")
    assert (drawn["low"], drawn["high"], drawn["draws"], drawn["pairs"]) == pytest.approx((-1.0, 2.0, 2, 4))
    assert not any(r["condition"].startswith("low x~") for r in rows)
    assert all(r["success"] is None for r in commanded_results(CELLS, FOUND))


def test_published_figures_are_for_the_published_checkpoint() -> None:
    assert is_published("openvla/openvla-7b-finetuned-libero-10")
    assert not is_published("openvla-nano")
    table = beside_published(results_of(CELLS, FOUND))
    assert table[0][2].startswith("+200.0 %")
    assert [line[0] for line in table if line[0].startswith("up, ")] == ["up, early layers, mean displacement (H7)"]


def test_the_page_warns(tmp_path: Path) -> None:
    rows = results_of(CELLS, FOUND)
    assert draw_all(rows, FOUND, tmp_path)
    about = {"world": "w", "grid": Grid(), "seed": 3, "rows": rows, "figures": tmp_path}
    page = report(policy="openvla/openvla-7b-finetuned-libero-10", missing=["up semantic early 10"], **about)
    assert "not a selection" in page
    assert "claimed: say low." in page
    assert "up semantic early 10" in page
    assert "+27.7 %" in page
    assert "+27.7 %" not in report(policy="openvla-nano", missing=[], **about)


def test_a_quick_grid_is_small() -> None:
    quick = Grid().quick()
    assert len(quick.sizes) == len(quick.coefficients) == 1
    assert replace(quick, sizes=(10,), coefficients=(4.0,), episodes=2) == quick
