"""The numbers of an organism's card: what it can do, what an adverb does, what steering does, against matched draws.

Coefficients and layers are chosen on one set of held-out seeds; everything that is reported comes from another, once.
Every effect is told with its interval at equal length, with the success rate and the share of non-action tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlasteer.comparison import EpisodeMotion
from vlasteer.launch.studies.running import run_conditions
from vlasteer.launch.training.candidates import COEFFICIENTS, MOST_FEATURES, contrasted, observations, projected
from vlasteer.launch.training.rollouts import held_out_keys, words_for, worlds
from vlasteer.launch.training.selection import (
    FOREIGN,
    ROUNDING,
    SUCCESS_LOSS,
    SUFFICIENT,
    Tried,
    best_of,
    is_settled,
    layers_of,
)
from vlasteer.protocols import Policy, World
from vlasteer.steering import Feature
from vlasteer.studies import Condition, Effect, effect_of, matched_draws, null_band
from vlasteer.studies.archive import MotionArchive
from vlasteer.studies.effects import Measure, mean_step_mm, peak_height_mm
from vlasteer.types import EpisodeKey

CONCEPTS: Mapping[str, tuple[str, Measure, int]] = {
    "fast": ("mean step (mm)", mean_step_mm, +1),
    "slow": ("mean step (mm)", mean_step_mm, -1),
    "high": ("peak height (mm)", peak_height_mm, +1),
    "low": ("peak height (mm)", peak_height_mm, -1),
}
"""Concept -> what it should move, and in which direction."""

NEUTRAL_SUCCESS = 0.95
ADVERB_EFFECT = 0.25
SHARE_OF_ADVERB = 0.5

SELECTION_SEED, REPORT_SEED = 101, 606
"""Everything that is chosen, and everything that is reported, once. No figure of the second was seen before: 202, 303,
404 and 505 are used up."""

NEUTRAL = "neutral"

Progress = Callable[[int], object]


@dataclass(frozen=True)
class CardOptions:
    """How much is run.

    Attributes:
        episodes: held-out episodes of a reported cell.
        selection: held-out episodes of a cell on which coefficient and layers are chosen. They decide whether success
            is kept: a candidate that really loses 10 points passes the test of 5 with 20 episodes in 39 % of the cases,
            with 60 in 14 %.
        draws: random draws a feature is compared with.
        draw_episodes: episodes of a draw, the first of the reported ones.
        rows: episodes that run at once.
    """

    episodes: int = 100
    selection: int = 60
    draws: int = 20
    draw_episodes: int = 10
    rows: int = 40

    @property
    def total(self) -> int:
        """Episodes that the whole card takes, at most."""
        candidates = sum(MOST_FEATURES[method] * len(COEFFICIENTS[method]) for method in COEFFICIENTS)
        reported = self.episodes * (1 + 3 * len(CONCEPTS)) + 2 * len(CONCEPTS) * self.draws * self.draw_episodes
        return reported + self.selection * (1 + (1 + candidates) * len(CONCEPTS))


def protocol(options: CardOptions) -> dict[str, Any]:
    """All that determines the numbers, besides the policy: two runs with the same protocol can share episodes."""
    return {
        "options": asdict(options),
        "seeds": {"selection": SELECTION_SEED, "report": REPORT_SEED},
        "coefficients": {method: list(coefficients) for method, coefficients in COEFFICIENTS.items()},
        "sufficient": SUFFICIENT,
    }


def evaluate(policy: Policy, options: CardOptions, archive: MotionArchive, progress: Progress) -> dict[str, Any]:
    """All numbers, as JSON types.

    Args:
        policy: an organism.
        options: how much.
        archive: where episodes are kept as they end, and looked up before they are run.
        progress: told how many further episodes have ended or turned out not to be needed; `options.total` in all, or
            fewer.
    """
    with worlds(options.rows) as rows:
        cells = _Cells(policy, rows, options, archive, progress)
        neutral = cells.report([Condition(NEUTRAL)], [])[NEUTRAL]
        spoken = cells.report([Condition(f"say {c}", adverb=c) for c in CONCEPTS], [])
        adverbs = {c: effect_of(spoken[f"say {c}"], neutral, CONCEPTS[c][1]) for c in CONCEPTS}
        features = {
            "projection": projected(policy, CONCEPTS),
            "contrast": contrasted(policy, CONCEPTS, observations(policy, rows[0], SELECTION_SEED)),
        }
        found = {
            method: {c: cells.steered(method, c, features[method][c], neutral, adverbs[c]) for c in CONCEPTS}
            for method in features
        }
    step, peak = (float(np.mean([measure(e) for e in neutral])) for measure in (mean_step_mm, peak_height_mm))
    success = float(np.mean([e.outcome.value == "success" for e in neutral]))
    return {
        "policy": policy.name,
        **protocol(options),
        "neutral": {
            "success": success,
            "mean_step_mm": step,
            "peak_height_mm": peak,
            "passes": success >= NEUTRAL_SUCCESS,
        },
        "adverbs": {
            c: _document(effect) | {"passes": CONCEPTS[c][2] * effect.relative >= ADVERB_EFFECT}
            for c, effect in adverbs.items()
        },
        **found,
    }


class _Cells:
    """Runs cells of the card and counts them."""

    def __init__(
        self, policy: Policy, rows: Sequence[World], options: CardOptions, archive: MotionArchive, progress: Progress
    ) -> None:
        self._policy, self._rows, self._options = policy, rows, options
        self._archive, self._progress = archive, progress
        references = [Condition(NEUTRAL), *(Condition(f"say {c}", adverb=c) for c in CONCEPTS)]
        self._references = self._select(references, [])

    def report(
        self, conditions: Sequence[Condition], features: Sequence[Feature], episodes: int | None = None
    ) -> dict[str, list[EpisodeMotion]]:
        """On the seeds that are reported."""
        return self._run(conditions, features, held_out_keys(episodes or self._options.episodes, REPORT_SEED))

    def steered(
        self, method: str, concept: str, candidates: Sequence[Feature], neutral: Sequence[EpisodeMotion], adverb: Effect
    ) -> dict[str, Any]:
        """Choose among the features and coefficients, then report the choice beside its draws."""
        if not candidates:
            return {"found": False, "effective": False}
        measure, sign = CONCEPTS[concept][1:]
        feature, coefficient, selection = self._choose(method, concept, candidates)
        (steered,) = self.report([_turned(feature, coefficient)], [feature]).values()
        effect = effect_of(steered, neutral, measure)
        avoid = [item.neuron for other in candidates for item in other.neurons] if method == "projection" else []
        draws = matched_draws(self._policy.anatomy, feature, self._options.draws, seed=REPORT_SEED, avoid=avoid)
        conditions = [_turned(draw, coefficient) for draw in draws]
        drawn = self.report(conditions, draws, self._options.draw_episodes)
        band = null_band([effect_of(motions, neutral, measure) for motions in drawn.values()])
        tests = {
            "right_way": sign * effect.difference > 0 and not effect.interval[0] <= 0 <= effect.interval[1],
            "beyond_all_draws": band.beyond(effect.difference, sign),
            "half_of_adverb": sign * effect.difference >= SHARE_OF_ADVERB * abs(adverb.difference),
            "success_kept": effect.success >= effect.reference_success - SUCCESS_LOSS - ROUNDING,
            "action_tokens": effect.foreign <= FOREIGN,
        }
        return {
            "found": True,
            "feature": feature.name,
            "operator": feature.operator.value,
            "scope": feature.scope,
            "coefficient": coefficient,
            "neurons": len(feature),
            "layers": layers_of(feature),
            **_document(effect),
            "draws": asdict(band),
            "tests": {test: bool(passed) for test, passed in tests.items()},
            "effective": all(tests.values()),
            "selection": selection,
        }

    def _choose(
        self, method: str, concept: str, candidates: Sequence[Feature]
    ) -> tuple[Feature, float, list[dict[str, Any]]]:
        """The choice on the seed of selection, and every candidate's figures there."""
        measure, sign = CONCEPTS[concept][1:]
        neutral, spoken = self._references[NEUTRAL], self._references[f"say {concept}"]
        wanted = SUFFICIENT * sign * effect_of(spoken, neutral, measure).difference
        cells: list[tuple[Feature, float, Effect]] = []
        tried: list[Tried] = []
        for coefficient in COEFFICIENTS[method]:
            if is_settled(tried, wanted):
                self._progress(len(candidates) * self._options.selection)
                continue
            motions = self._select([_turned(feature, coefficient) for feature in candidates], candidates)
            for feature, moved in zip(candidates, motions.values(), strict=True):
                effect = effect_of(moved, neutral, measure)
                cells.append((feature, coefficient, effect))
                tried.append(Tried.of(coefficient, feature, effect, sign))
        figures = [
            {"feature": f.name, "layers": layers_of(f), "coefficient": c, "sound": one.sound, **_document(effect)}
            for (f, c, effect), one in zip(cells, tried, strict=True)
        ]
        feature, coefficient, _ = cells[best_of(tried, wanted)]
        return feature, coefficient, figures

    def _select(self, conditions: Sequence[Condition], features: Sequence[Feature]) -> dict[str, list[EpisodeMotion]]:
        return self._run(conditions, features, held_out_keys(self._options.selection, SELECTION_SEED))

    def _run(
        self, conditions: Sequence[Condition], features: Sequence[Feature], keys: Sequence[EpisodeKey]
    ) -> dict[str, list[EpisodeMotion]]:
        return run_conditions(
            self._policy,
            self._rows,
            conditions,
            features,
            keys,
            words=words_for,
            progress=self._progress,
            known=self._archive.motions,
            keep=self._archive.keep,
        )


def _turned(feature: Feature, coefficient: float) -> Condition:
    """That feature alone; a name for every coefficient, since the archive knows conditions by name."""
    return Condition(f"{feature.name}={coefficient:g}", {feature.name: coefficient})


def _document(effect: Effect) -> dict[str, Any]:
    return asdict(effect) | {"interval": list(effect.interval), "relative": effect.relative}
