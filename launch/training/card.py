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
from vlasteer.errors import ConceptError
from vlasteer.finding import FindOptions, Lexicon, find_feature
from vlasteer.finding.contrast import contrast_feature, paired_prompts
from vlasteer.launch.training.rollouts import Condition, held_out_keys, run_conditions, words_for, worlds
from vlasteer.projection import VOCABULARY_STREAM, ProjectionOptions, project
from vlasteer.protocols import Policy, World
from vlasteer.steering import Feature
from vlasteer.studies import Effect, effect_of, matched_draws, null_band
from vlasteer.studies.effects import Measure, mean_step_mm, peak_height_mm
from vlasteer.types import EpisodeKey, Observation

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
SUCCESS_LOSS = 0.05
FOREIGN = 0.01

_SELECTION_SEED, _REPORT_SEED = 101, 202
_COEFFICIENTS = {"projection": (1.0, 2.0, 4.0), "contrast": (0.5, 1.0, 2.0)}
_K = 6
_CONTRAST_SCOPE = "text+decode"
_CONTRAST_EPISODES = 16
_CONTRAST_STEPS = (0, 4, 8, 12)

Progress = Callable[[int], object]


@dataclass(frozen=True)
class CardOptions:
    """How much is run.

    Attributes:
        episodes: held-out episodes of a reported cell.
        selection: episodes of a cell on which coefficient and layers are chosen.
        draws: random draws a feature is compared with.
        draw_episodes: episodes of a draw, the first of the reported ones.
        rows: episodes that run at once.
    """

    episodes: int = 100
    selection: int = 10
    draws: int = 20
    draw_episodes: int = 10
    rows: int = 20

    @property
    def total(self) -> int:
        """Episodes that the whole card takes, at most."""
        candidates = sum(len(c) for c in _COEFFICIENTS.values()) + len(_COEFFICIENTS["projection"])
        reported = self.episodes * (1 + 3 * len(CONCEPTS)) + 2 * len(CONCEPTS) * self.draws * self.draw_episodes
        return reported + self.selection * (1 + candidates * len(CONCEPTS))


def evaluate(policy: Policy, options: CardOptions, progress: Progress) -> dict[str, Any]:
    """All numbers, as JSON types.

    Args:
        policy: an organism.
        options: how much.
        progress: told how many further episodes have ended; `options.total` in all, or fewer.
    """
    with worlds(options.rows) as rows:
        cells = _Cells(policy, rows, options, progress)
        neutral = cells.report([Condition("neutral")], [])["neutral"]
        spoken = cells.report([Condition(f"say {c}", adverb=c) for c in CONCEPTS], [])
        adverbs = {c: effect_of(spoken[f"say {c}"], neutral, CONCEPTS[c][1]) for c in CONCEPTS}
        features = {
            "projection": {c: _projected(policy, c) for c in CONCEPTS},
            "contrast": _contrasted(policy, rows[0]),
        }
        found = {
            method: {c: cells.steered(method, c, features[method][c], neutral, adverbs[c]) for c in CONCEPTS}
            for method in features
        }
    step, peak = (float(np.mean([measure(e) for e in neutral])) for measure in (mean_step_mm, peak_height_mm))
    success = float(np.mean([e.outcome.value == "success" for e in neutral]))
    return {
        "policy": policy.name,
        "options": asdict(options),
        "seeds": {"selection": _SELECTION_SEED, "report": _REPORT_SEED},
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

    def __init__(self, policy: Policy, rows: Sequence[World], options: CardOptions, progress: Progress) -> None:
        self._policy, self._rows, self._options, self._progress = policy, rows, options, progress
        self._selection: list[EpisodeMotion] | None = None

    def report(
        self, conditions: Sequence[Condition], features: Sequence[Feature], episodes: int | None = None
    ) -> dict[str, list[EpisodeMotion]]:
        """On the seeds that are reported."""
        keys = held_out_keys(episodes or self._options.episodes, _REPORT_SEED)
        return run_conditions(self._policy, self._rows, conditions, features, keys, self._progress)

    def steered(
        self, method: str, concept: str, candidates: Sequence[Feature], neutral: Sequence[EpisodeMotion], adverb: Effect
    ) -> dict[str, Any]:
        """Choose among the features and coefficients, then report the choice beside its draws."""
        if not candidates:
            return {"found": False, "effective": False}
        measure, sign = CONCEPTS[concept][1:]
        feature, coefficient = self._choose(candidates, _COEFFICIENTS[method], measure, sign)
        name = feature.name
        steered = self.report([Condition(name, {name: coefficient})], [feature])[name]
        effect = effect_of(steered, neutral, measure)
        avoid = [item.neuron for other in candidates for item in other.neurons] if method == "projection" else []
        draws = matched_draws(self._policy.anatomy, feature, self._options.draws, seed=_REPORT_SEED, avoid=avoid)
        conditions = [Condition(draw.name, {draw.name: coefficient}) for draw in draws]
        drawn = self.report(conditions, draws, self._options.draw_episodes)
        band = null_band([effect_of(drawn[draw.name], neutral, measure) for draw in draws])
        tests = {
            "right_way": sign * effect.difference > 0 and not effect.interval[0] <= 0 <= effect.interval[1],
            "beyond_all_draws": band.beyond(effect.difference, sign),
            "half_of_adverb": sign * effect.difference >= SHARE_OF_ADVERB * abs(adverb.difference),
            "success_kept": effect.success >= effect.reference_success - SUCCESS_LOSS,
            "action_tokens": effect.foreign <= FOREIGN,
        }
        return {
            "found": True,
            "operator": feature.operator.value,
            "scope": feature.scope,
            "coefficient": coefficient,
            "neurons": len(feature),
            "layers": sorted({item.neuron.layer for item in feature.neurons}),
            **_document(effect),
            "draws": asdict(band),
            "tests": {test: bool(passed) for test, passed in tests.items()},
            "effective": all(tests.values()),
        }

    def _choose(
        self, candidates: Sequence[Feature], coefficients: Sequence[float], measure: Measure, sign: int
    ) -> tuple[Feature, float]:
        """The largest effect the right way among those that keep success and action tokens, else among all."""
        keys: list[EpisodeKey] = held_out_keys(self._options.selection, _SELECTION_SEED)
        run = (self._policy, self._rows)
        if self._selection is None:
            self._selection = run_conditions(*run, [Condition("neutral")], [], keys, self._progress)["neutral"]
        cells = {f"{f.name}={c}": (f, c) for f in candidates for c in coefficients}
        conditions = [Condition(name, {f.name: c}) for name, (f, c) in cells.items()]
        motions = run_conditions(*run, conditions, candidates, keys, self._progress)
        effects = {name: effect_of(motions[name], self._selection, measure) for name in cells}
        sound = [
            n for n, e in effects.items() if e.foreign <= FOREIGN and e.success >= e.reference_success - SUCCESS_LOSS
        ]
        best = max(sound or effects, key=lambda name: sign * effects[name].difference)
        return cells[best]


def _projected(policy: Policy, concept: str) -> list[Feature]:
    """By projection, from the concept's words alone: in all layers but the last, and in the first half of them.

    The last layer is left out: what it writes is read by nothing but the output embedding.
    """
    sites = policy.anatomy.stream_sites(VOCABULARY_STREAM)[:-1]
    features = []
    for depth, some in (("full", sites), ("early", sites[: -(-len(sites) // 2)])):
        projection = project(policy.anatomy, ProjectionOptions(), sites=some)
        try:
            feature = find_feature(policy.anatomy, concept, projection, FindOptions(k=_K), name=f"{concept} ({depth})")
        except ConceptError:
            continue
        features.append(feature)
    return features


def _contrasted(policy: Policy, world: World) -> dict[str, list[Feature]]:
    """By contrast, dense, on observations of the world on the seeds that are selected on."""
    seen = _observations(policy, world)
    lexicon = Lexicon.load()
    return {
        concept: [
            contrast_feature(
                policy,
                f"{concept} (contrast)",
                paired_prompts(seen, lexicon.concept(concept), policy.anatomy),
                scope=_CONTRAST_SCOPE,
            )
        ]
        for concept in CONCEPTS
    }


def _observations(policy: Policy, world: World) -> list[Observation]:
    """What the unsteered policy sees in some episodes, with held-out instructions."""
    from dataclasses import replace

    from vlasteer.conventions import converter
    from vlasteer.types import Outcome

    convert = converter(policy.action_spec, world.action_spec)
    seen = []
    for key in held_out_keys(_CONTRAST_EPISODES, _SELECTION_SEED):
        world.reset(key)
        for step in range(max(_CONTRAST_STEPS) + 1):
            if world.outcome is not Outcome.RUNNING:
                break
            now = replace(world.observe(), instruction=words_for(key, None))
            if step in _CONTRAST_STEPS:
                seen.append(now)
            world.act(convert(policy.act(now).actions)[0])
    return seen


def _document(effect: Effect) -> dict[str, Any]:
    return asdict(effect) | {"interval": list(effect.interval), "relative": effect.relative}
