"""Steered beside unsteered: what the episodes of a run did, per arm, with paired differences.

Two ways of counting stand side by side, because an episode that lasts longer drags every mean (method notes to H6):
"per step" averages over all steps of an episode, "equal length" over the first n steps of both members of a pair, n
being the length of the shorter. The success rate always stands beside the motion: a damaged policy is slow, too.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError
from vlasteer.measures import Motion, measure_motion
from vlasteer.types import EpisodeKey, Outcome

UNSTEERED = "unsteered"
STEERED = "steered"
RANDOM = "random"
"""Matched random neurons; several draws make one arm."""
_BOOTSTRAP_DRAWS = 2000
NON_ACTION = "non-action tokens (%)"
MOST_NON_ACTION = 1.0
"""Above this share of tokens that are no action (they decode to +1) no difference is claimed as an effect."""


@dataclass(frozen=True)
class EpisodeMotion:
    """What a comparison needs of one finished episode.

    Attributes:
        arm: condition.
        key: task, start, seed; episodes of different arms with equal keys are pairs.
        outcome: how it ended.
        positions: float [n, 3] end-effector position before each step (m).
        commanded: float [n, 3] commanded translation of each step (m).
        tokens: action-position tokens generated in the episode; 0 for policies without tokens.
        non_action_tokens: how many of them are no action token.
        rate_hz: control rate.
    """

    arm: str
    key: EpisodeKey
    outcome: Outcome
    positions: NDArray[np.float64]
    commanded: NDArray[np.float64]
    tokens: int = 0
    non_action_tokens: int = 0
    rate_hz: float = 20.0

    def motion(self, steps: int | None = None) -> Motion:
        """Measures of the first `steps` steps or all; an episode of a single step has not moved."""
        positions = self.positions[:steps]
        return measure_motion(positions if len(positions) > 1 else np.repeat(positions, 2, axis=0), self.rate_hz)

    def moved(self, steps: int | None = None) -> NDArray[np.float64]:
        """Mean |dx|, |dy|, |dz| and length of a step (m)."""
        motion = self.motion(steps)
        return np.array([*motion.mean_step_m, motion.mean_step_length_m])

    def commanded_length(self, steps: int | None = None) -> float:
        """Mean length of a commanded step (m): the paper's measure of fast and slow."""
        return float(np.linalg.norm(self.commanded[:steps], axis=1).mean())


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes:
        measure: what, with its unit.
        means: arm -> mean over its episodes.
        difference: mean paired difference steered - unsteered in the measure's unit, or None without pairs.
        interval: 95 % percentile-bootstrap interval of `difference` over pairs, or None with fewer than two pairs.
    """

    measure: str
    means: Mapping[str, float]
    difference: float | None = None
    interval: tuple[float, float] | None = None


POSITION_NAMES = ("eef_x", "eef_y", "eef_z")
"""State entries of the end-effector position (m), as every world names them."""


def episode_motions(run: str | Path) -> list[EpisodeMotion]:
    """The finished episodes of a run folder, in the order of the plan; interrupted ones are left out.

    Raises:
        InputError: no recording, or a state without an end-effector position.
    """
    from vlasteer.recording import finished_episodes, read_episodes, read_steps
    from vlasteer.recording.reader import read_layout

    episodes = finished_episodes(read_episodes(run))
    layout = read_layout(run)
    if not set(POSITION_NAMES) <= set(layout.state_names):
        raise InputError(
            f"the states of {run} have no end-effector position ({', '.join(layout.state_names)})",
            expected=f"entries named {', '.join(POSITION_NAMES)}",
        )
    place = [layout.state_names.index(name) for name in POSITION_NAMES]
    scale = np.array(layout.action_spec.scale[:3])
    motions = []
    for _, row in sorted(episodes.items()):
        steps = read_steps(run, [row["episode_index"]])
        motions.append(
            EpisodeMotion(
                arm=row["arm"],
                key=EpisodeKey(row["task"], row["start"], row["seed"]),
                outcome=Outcome(row["outcome"]),
                positions=_matrix(steps, "observation.state")[:, place],
                commanded=_matrix(steps, "commanded.action")[:, :3] * scale,
                tokens=_sum(steps, "policy.tokens"),
                non_action_tokens=_sum(steps, "policy.non_action_tokens"),
                rate_hz=layout.action_spec.rate_hz,
            )
        )
    return motions


def _matrix(steps: Any, column: str) -> NDArray[np.float64]:
    return np.stack(steps[column].to_numpy()).astype(np.float64)


def _sum(steps: Any, column: str) -> int:
    return int(steps[column].to_numpy().sum())


def compare(episodes: Sequence[EpisodeMotion]) -> list[Comparison]:
    """The closing table of a run: success, length, motion and non-action tokens, per arm and paired."""
    lines = [
        _line("success rate (%)", episodes, lambda e, _: 100.0 * (e.outcome is Outcome.SUCCESS)),
        _line("steps", episodes, lambda e, _: float(len(e.positions))),
    ]
    counts = [("per step", False), *([("equal length", True)] if _pairs(episodes) else [])]
    for label, equal in counts:
        for axis, name in enumerate(("|dx|", "|dy|", "|dz|", "length")):
            lines.append(
                _line(
                    f"moved {name} (mm, {label})",
                    episodes,
                    lambda e, n, a=axis: 1e3 * e.moved(n)[a],
                    equal_length=equal,
                )
            )
        lines += [
            _line(f"rise dz (mm, {label})", episodes, _rise_mm, equal_length=equal),
            _line(f"commanded length (mm, {label})", episodes, _commanded_mm, equal_length=equal),
        ]
    lines += [
        _line("peak height (mm)", episodes, lambda e, _: 1e3 * e.motion().peak_height_m),
        _line("lowest height (mm)", episodes, lambda e, _: 1e3 * e.motion().lowest_height_m),
        _line("peak speed (mm/s)", episodes, lambda e, _: 1e3 * e.motion().peak_speed_m_s),
    ]
    if any(e.tokens for e in episodes):
        lines.append(_line(NON_ACTION, episodes, lambda e, _: 100.0 * e.non_action_tokens / max(e.tokens, 1)))
    return lines


def _rise_mm(episode: EpisodeMotion, steps: int | None) -> float:
    motion = episode.motion(steps)
    return 1e3 * motion.displacement_m[2] / motion.steps


def _commanded_mm(episode: EpisodeMotion, steps: int | None) -> float:
    return 1e3 * episode.commanded_length(steps)


Measure = Callable[[EpisodeMotion, int | None], float]


def _line(measure: str, episodes: Sequence[EpisodeMotion], value: Measure, *, equal_length: bool = False) -> Comparison:
    pairs = _pairs(episodes)
    shortest = {key: min(len(e.positions) for e in pair) for key, pair in pairs.items()} if equal_length else {}
    counted = [e for e in episodes if not equal_length or not pairs or e.key in pairs]
    values = {id(e): value(e, shortest.get(e.key)) for e in counted}
    arms = dict.fromkeys(e.arm for e in episodes)
    means = {arm: float(np.mean([values[id(e)] for e in counted if e.arm == arm] or [np.nan])) for arm in arms}
    if not pairs:
        return Comparison(measure, means)
    differences = np.array([values[id(steered)] - values[id(plain)] for plain, steered in pairs.values()])
    return Comparison(measure, means, float(differences.mean()), bootstrap_interval(differences))


def _pairs(episodes: Sequence[EpisodeMotion]) -> dict[EpisodeKey, tuple[EpisodeMotion, EpisodeMotion]]:
    plain = {e.key: e for e in episodes if e.arm == UNSTEERED}
    steered = {e.key: e for e in episodes if e.arm == STEERED}
    return {key: (plain[key], steered[key]) for key in plain if key in steered}


def bootstrap_interval(
    values: NDArray[np.float64], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile-bootstrap interval of the mean of `values` [n]; None for fewer than two."""
    if len(values) < 2:
        return None
    draws = np.random.default_rng(seed).integers(0, len(values), (_BOOTSTRAP_DRAWS, len(values)))
    tail = 50 * (1 - level)
    low, high = np.percentile(values[draws].mean(1), [tail, 100 - tail])
    return float(low), float(high)


def format_table(lines: Sequence[Comparison]) -> str:
    """The comparison as text, one measure a line."""
    arms = list(lines[0].means)
    paired = any(line.difference is not None for line in lines)
    header = (
        f"{'':34}" + "".join(f"{arm:>12}" for arm in arms) + (f"{'difference':>12}  95 % interval" if paired else "")
    )
    rows = [header]
    for line in lines:
        row = f"{line.measure:34}" + "".join(f"{line.means[arm]:12.3f}" for arm in arms)
        if line.difference is not None:
            row += f"{line.difference:+12.3f}"
            if line.interval is not None:
                row += f"  [{line.interval[0]:+.3f}, {line.interval[1]:+.3f}]"
        rows.append(row)
    shares = next((line.means for line in lines if line.measure == NON_ACTION), {})
    over = [arm for arm, share in shares.items() if share > MOST_NON_ACTION]
    if over:
        rows.append(
            f"Over-steered: more than {MOST_NON_ACTION:g} % of the tokens of '{', '.join(over)}' are no actions (they"
            " decode to +1). Claim no effect from this table; lower the coefficient."
        )
    return "\n".join(rows)


def save_csv(lines: Sequence[Comparison], path: str | Path) -> None:
    """Write the comparison as a CSV file: measure, one column per arm, difference, low and high end of the interval."""
    arms = list(lines[0].means)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["measure", *arms, "difference", "low", "high"])
        for line in lines:
            low, high = line.interval or ("", "")
            difference = "" if line.difference is None else line.difference
            writer.writerow([line.measure, *(line.means[arm] for arm in arms), difference, low, high])
