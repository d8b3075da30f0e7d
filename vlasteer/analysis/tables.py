"""Rows for CSV, Parquet and notebooks: every number of a report, with its unit in the column's name or beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vlasteer.analysis.effects import Effect, Summary
from vlasteer.analysis.episodes import Episode
from vlasteer.analysis.levels import Level
from vlasteer.analysis.quantities import QUANTITIES
from vlasteer.analysis.runs import AnalysedRun
from vlasteer.errors import OutputError

Rows = list[dict[str, Any]]


def effect_rows(effects: Sequence[Effect]) -> Rows:
    """One row per effect, its unit beside it."""
    return [
        asdict(effect) | {"unit": QUANTITIES[effect.quantity].unit, "relative_percent": 100 * effect.relative}
        for effect in effects
    ]


def summary_rows(summaries: Sequence[Summary]) -> Rows:
    """One row per condition and draw: counts, success with its interval (%), means of every quantity."""
    rows = []
    for summary in summaries:
        row = asdict(summary)
        means = row.pop("means")
        for key in ("low", "high", "non_action_tokens"):
            row[f"success_{key}_percent" if key != "non_action_tokens" else "non_action_tokens_percent"] = row.pop(key)
        rows.append(row | {"success_percent": summary.rate} | _known(means, without=("success", "non_action_tokens")))
    return rows


def episode_rows(run: str, episodes: Sequence[Episode]) -> Rows:
    """One row per episode: what it was, how it ended, and every quantity over its whole length."""
    return [
        {
            "run": run,
            "episode_index": episode.index,
            "task": episode.key.task,
            "start": episode.key.start,
            "seed": episode.key.seed,
            "instruction": episode.instruction,
            "arm": episode.arm,
            "condition": episode.condition,
            "draw": episode.draw,
            "outcome": str(episode.outcome),
            "interrupted": episode.interrupted,
            "success": episode.measures()["success"] > 0,
            "inference_s": float(episode.inference_s.mean()) if len(episode.inference_s) else float("nan"),
        }
        | _known(episode.measures(), without=("success", "non_action_tokens"))
        | {"tokens": episode.tokens, "non_action_tokens": episode.non_action_tokens}
        for episode in episodes
    ]


def step_rows(run: str, episodes: Sequence[Episode]) -> Rows:
    """One row per step: time (s), position (m), speed to the next position (m/s), knobs (NaN: off), extras."""
    rows: Rows = []
    for episode in episodes:
        speed = np.append(episode.speed_m_s, np.nan)
        for k, time_s in enumerate(episode.time_s):
            row: dict[str, Any] = {
                "run": run,
                "episode_index": episode.index,
                "condition": episode.condition,
                "draw": episode.draw,
                "step": k,
                "time_s": float(time_s),
            }
            if episode.positions is not None:
                row |= dict(zip(("x_m", "y_m", "z_m"), episode.positions[k].tolist(), strict=True))
                row["speed_m_s"] = float(speed[k])
            row |= {f"steering.{name}": float(values[k]) for name, values in episode.knobs.items()}
            rows.append(row | {f"extra.{name}": float(values[k]) for name, values in episode.extras.items()})
    return rows


def level_rows(run: str, levels: Sequence[Level]) -> Rows:
    """One row per value of a turned knob."""
    return [{"run": run} | asdict(level) for level in levels]


def measures_of(run: AnalysedRun) -> Rows:
    """`episode_rows` of a run; `vlasteer.runs.Run.measures` makes a data frame of them."""
    return episode_rows(run.name, run.episodes)


def save_rows(rows: Rows, stem: Path) -> list[Path]:
    """Write rows as `stem`.csv and `stem`.parquet; none of both without a row.

    Raises:
        OutputError: the place cannot be written.
    """
    if not rows:
        return []
    import pyarrow as pa

    from vlasteer.recording.tables import write_table

    columns = list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name) for name in columns} for row in rows]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with stem.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({k: "" if _absent(v) else v for k, v in row.items()} for row in whole)
        write_table(stem.with_suffix(".parquet"), pa.Table.from_pylist(whole))
    except OSError as error:
        raise OutputError(
            f"{stem}.csv cannot be written: {error.strerror or error}", fix="Choose another folder with --out"
        ) from error
    return [stem.with_suffix(".csv"), stem.with_suffix(".parquet")]


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _known(values: Mapping[str, float], *, without: Sequence[str]) -> dict[str, float]:
    return {key: values.get(key, float("nan")) for key in QUANTITIES if key not in without}
