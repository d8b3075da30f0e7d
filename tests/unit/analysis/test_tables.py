"""Tables of an analysis, as files and in notebooks."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from recorded_runs import paired_run

from vlasteer.analysis import QUANTITIES, effects_of, load_runs, summaries_of
from vlasteer.analysis.tables import effect_rows, episode_rows, save_rows, step_rows, summary_rows
from vlasteer.errors import OutputError
from vlasteer.runs import Run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory):
    return paired_run(tmp_path_factory.mktemp("runs") / "fast", starts=2)


def test_measures_in_a_notebook(path):
    measures = Run.load(path).measures
    assert measures.groupby("condition")["step_length_mm"].mean().to_dict() == pytest.approx(
        {"unsteered": 10.5, "fast = 2": 12.5}
    )
    assert set(QUANTITIES) - {"success", "non_action_tokens"} <= set(measures.columns)
    assert measures["success"].all()


def test_steps_have_the_speed_to_the_next_one(path):
    (run,) = load_runs([path])
    steps = pd.DataFrame(step_rows(run.name, run.episodes))
    steered = steps[steps["condition"] == "fast = 2"]
    assert len(steered) == 16
    first = steered[steered["episode_index"] == steered["episode_index"].min()]
    np.testing.assert_allclose(first["speed_m_s"], [0.24] * 7 + [np.nan])
    np.testing.assert_allclose(first["x_m"], 0.012 * np.arange(8), atol=1e-12)
    assert (steered["steering.fast"] == 2).all()
    assert steps[steps["condition"] == "unsteered"]["steering.fast"].isna().all()


def test_csv_and_parquet_say_the_same(path, tmp_path):
    (run,) = load_runs([path])
    for name, rows in (
        ("effects", effect_rows(effects_of(run))),
        ("conditions", summary_rows(summaries_of(run))),
        ("episodes", episode_rows(run.name, run.episodes)),
    ):
        text, binary = save_rows(rows, tmp_path / "report" / name)
        frame = pd.read_parquet(binary)
        assert len(frame) == len(rows)
        with text.open(newline="") as file:
            read = list(csv.DictReader(file))
        assert [row["condition"] for row in read] == frame["condition"].tolist()
    assert {row["unit"] for row in effect_rows(effects_of(run))} == {"%", "steps", "s", "mm", "mm/s"}


def test_no_rows_no_file(tmp_path):
    assert save_rows([], tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_rows([{"a": 1}], tmp_path / "file" / "rows")
