"""The episodes of a run folder, each with its series: time, position, knobs, and what else was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.analysis.quantities import motion_quantities
from vlasteer.comparison import POSITION_NAMES, RANDOM, UNSTEERED, EpisodeMotion
from vlasteer.recording import read_episodes, read_steps
from vlasteer.recording.layout import Layout
from vlasteer.recording.reader import FINISHED, read_layout
from vlasteer.types import EpisodeKey, Outcome

Series = NDArray[np.float64]
_COLUMNS = (
    *("episode_index", "world.time_s", "world.state", "commanded.action"),
    *("policy.chunk_step", "policy.tokens", "policy.non_action_tokens", "policy.inference_s"),
)


@dataclass(frozen=True)
class Episode:
    """One recorded episode.

    Attributes:
        index: `episode_index` in the recording.
        key: task, start, seed.
        arm: as recorded.
        condition: what it is told apart by: "unsteered", "fast = 2", "random", ...; an arm's name where knobs are
            turned within an episode.
        draw: which random draw it belongs to ("0", "1", ...), None outside the arm of random neurons.
        instruction: the words that the policy was given.
        outcome: how it ended.
        interrupted: whether it was cut off and kept.
        rate_hz: control rate.
        time_s: [n] seconds since its first step, by the world's clock.
        positions: [n, 3] end-effector position before each step (m), None where the world's state has none.
        motion: what a comparison needs, None without positions.
        tokens, non_action_tokens: generated at action positions.
        inference_s: [calls] seconds of each policy call.
        knobs: name -> [n] applied coefficient of a feature (NaN: off).
        extras: name -> [n] what the world or the controller added.
    """

    index: int
    key: EpisodeKey
    arm: str
    condition: str
    draw: str | None
    instruction: str
    outcome: Outcome
    interrupted: bool
    rate_hz: float
    time_s: Series
    positions: Series | None
    motion: EpisodeMotion | None
    tokens: int
    non_action_tokens: int
    inference_s: Series
    knobs: Mapping[str, Series]
    extras: Mapping[str, Series]

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def finished(self) -> bool:
        """Whether it ended by itself, in success or at the step limit; only such episodes enter comparisons."""
        return self.outcome in FINISHED

    @property
    def speed_m_s(self) -> Series:
        """[n - 1] speed between two positions, by the world's clock; empty without positions."""
        if self.positions is None or len(self) < 2:
            return np.zeros(0)
        periods = np.maximum(np.diff(self.time_s), 1e-9)
        return np.linalg.norm(np.diff(self.positions, axis=0), axis=1) / periods

    def measures(self, steps: int | None = None) -> dict[str, float]:
        """Quantity key -> value; those of motion over the first `steps` positions (None: all)."""
        values = {
            "success": 100.0 * (self.outcome is Outcome.SUCCESS),
            "steps": float(len(self)),
            "duration_s": len(self) / self.rate_hz,
        }
        if self.motion is not None:
            values |= motion_quantities(self.motion, steps)
        if self.tokens:
            values["non_action_tokens"] = 100.0 * self.non_action_tokens / self.tokens
        return values


def read_run_episodes(path: Path, config: Mapping[str, Any]) -> tuple[Layout, list[Episode], int]:
    """Layout, episodes in the order of the plan, and how many were left out because they were run again.

    Args:
        path: the run folder.
        config: its resolved configuration, for the names of conditions.

    Raises:
        InputError: no recording, or one without an episode.
    """
    layout, rows = read_layout(path), read_episodes(path)
    latest = {row["plan_index"]: row for row in rows}
    table = read_steps(path)
    columns = {column.name: column for column in layout.stored_columns}
    wanted = {
        name: _values(table, column)
        for name, column in columns.items()
        if name in _COLUMNS or name.startswith(("steering.", "extra."))
    }
    places = _slices(wanted["episode_index"])
    turned = _turned_arms(rows, wanted, places)
    episodes = []
    for row in (latest[index] for index in sorted(latest)):
        own = {name: values[places[row["episode_index"]]] for name, values in wanted.items()}
        episodes.append(_episode(row, own, layout, config, turned))
    return layout, episodes, len(rows) - len(latest)


def _episode(
    row: Mapping[str, Any], own: Mapping[str, Any], layout: Layout, config: Mapping[str, Any], turned: set[str]
) -> Episode:
    spec = layout.action_spec
    key, outcome = EpisodeKey(row["task"], row["start"], row["seed"]), Outcome(row["outcome"])
    knobs = {name.partition(".")[2]: values for name, values in own.items() if name.startswith("steering.")}
    tokens, foreign = int(own["policy.tokens"].sum()), int(own["policy.non_action_tokens"].sum())
    positions = motion = None
    if set(POSITION_NAMES) <= set(layout.state_names):
        place = [layout.state_names.index(name) for name in POSITION_NAMES]
        positions = own["world.state"][:, place]
        motion = EpisodeMotion(
            arm=row["arm"],
            key=key,
            outcome=outcome,
            positions=positions,
            commanded=own["commanded.action"][:, :3] * np.array(spec.scale[:3]),
            tokens=tokens,
            non_action_tokens=foreign,
            rate_hz=spec.rate_hz,
        )
    return Episode(
        index=row["episode_index"],
        key=key,
        arm=row["arm"],
        condition=row["arm"] if row["arm"] in turned else condition_name(row["arm"], knobs, config),
        draw=_draw(knobs) if row["arm"] == RANDOM else None,
        instruction=row["instruction"],
        outcome=outcome,
        interrupted=bool(row["interrupted"]),
        rate_hz=spec.rate_hz,
        time_s=_time(own["world.time_s"], spec.rate_hz),
        positions=positions,
        motion=motion,
        tokens=tokens,
        non_action_tokens=foreign,
        inference_s=own["policy.inference_s"][own["policy.chunk_step"] == 0],
        knobs=knobs,
        extras={name.partition(".")[2]: values for name, values in own.items() if name.startswith("extra.")},
    )


def condition_name(arm: str, knobs: Mapping[str, Series], config: Mapping[str, Any]) -> str:
    """What an episode is told apart by, from its arm, the values of its first step and the run's configuration."""
    told = config.get("instruction")
    if arm in (UNSTEERED, RANDOM):
        return f'{arm}, told "{told}"' if told else arm
    terms = {term["feature"]: term for term in config.get("steering") or ()}
    parts = []
    for name, values in knobs.items():
        if not len(values) or np.isnan(values[0]):
            continue
        term = terms.get(name, {})
        ways = [
            str(term[kind]) for kind, usual in (("operator", "set"), ("scope", "all")) if term.get(kind, usual) != usual
        ]
        parts.append(f"{name} = {_number(term.get('coefficient', values[0]))}" + (f" ({', '.join(ways)})" * bool(ways)))
    label = ", ".join(parts) or arm
    return f'{label}, told "{told}"' if told else label


def _number(value: object) -> str:
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value)  # a quantile


def _draw(knobs: Mapping[str, Series]) -> str:
    """Draw 3 of a steering of fast and high is the features fast~3 and high~3."""
    on = [name for name, values in knobs.items() if len(values) and not np.isnan(values[0])]
    return on[0].rpartition("~")[2] if on else ""


def _turned_arms(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Series], places: Mapping[int, slice]) -> set:
    """Arms in which a knob changes within some episode."""
    found = set()
    for row in rows:
        for name, values in columns.items():
            if name.startswith("steering."):
                own = values[places[row["episode_index"]]]
                if not np.array_equal(own, np.full_like(own, own[0]), equal_nan=True):
                    found.add(row["arm"])
    return found


def _time(clock: Series, rate_hz: float) -> Series:
    """Seconds since the first step; by the control rate where the world's clock does not run."""
    passed = clock - clock[0]
    return passed if np.all(np.diff(passed) > 0) else np.arange(len(clock)) / rate_hz


def _slices(index: Series) -> dict[int, slice]:
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    ends = [*starts[1:], len(index)]
    return {int(index[a]): slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)}


def _values(table: Any, column: Any) -> Series:
    from vlasteer.recording.tables import column_values

    values = column_values(table, column)
    return np.asarray(values[:, 0] if column.shape == (1,) else values, dtype=np.float64)
