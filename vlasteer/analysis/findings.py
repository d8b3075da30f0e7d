"""One verdict per condition, in words that are computed from the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from vlasteer.analysis.effects import (
    EQUAL,
    Effect,
    Summary,
    draw_differences,
    effect_of_quantity,
    effects_of,
    summaries_of,
)
from vlasteer.analysis.levels import knob_levels, turned_knobs
from vlasteer.analysis.quantities import QUANTITIES
from vlasteer.analysis.runs import AnalysedRun
from vlasteer.comparison import MOST_NON_ACTION, RANDOM, UNSTEERED

EXPECTED: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("fast", "quick", "speed", "rapid", "swift", "hurry"), ("step_length_mm", 1)),
        **dict.fromkeys(("slow", "gentle", "careful", "calm"), ("step_length_mm", -1)),
        **dict.fromkeys(("high", "up", "raise", "lift", "above", "tall"), ("peak_height_mm", 1)),
        **dict.fromkeys(("low", "down", "lower", "below"), ("peak_height_mm", -1)),
    }
)
"""Word of a feature's name -> quantity and the direction in which the name says that it goes."""

MOST_SUCCESS_LOSS = 5.0
"""Percentage points of success that an effect may cost without being called costly."""
_PLAIN = ("step_length_mm", "peak_height_mm")
"""Quantities that are told of every condition."""
_WORDS = {
    "step_length_mm": ("steps {:.0f} % longer", "steps {:.0f} % shorter"),
    "peak_height_mm": ("peak height {:.0f} % higher", "peak height {:.0f} % lower"),
}


class Verdict(StrEnum):
    """What may be said of a condition."""

    AS_NAMED = "as named"
    """It moves its quantity the way its name says, beyond all random draws, at little cost of success."""
    NO_NULL = "as named, no null"
    """The same, but no random neurons were tried, so that nothing says that it takes these."""
    COSTLY = "as named, at a cost"
    """The same as one of these, but success falls by more than `MOST_SUCCESS_LOSS` points."""
    LIKE_RANDOM = "as random"
    """The quantity moves, but not beyond what random neurons do."""
    OPPOSITE = "the other way"
    """The quantity moves against the name."""
    NONE_SEEN = "no effect seen"
    """The interval of the difference includes 0."""
    CHANGED = "changed"
    """No expectation goes with the name; something moved beyond its interval."""
    OVER_STEERED = "over-steered"
    """Too many tokens are no actions: what moves then is no behaviour."""
    UNPAIRED = "not compared"
    """There are fewer than two pairs."""


@dataclass(frozen=True)
class Finding:
    """A verdict.

    Attributes:
        run, condition: of what.
        verdict: in short.
        headline: in a clause, with the size of the effect: "steps 19 % longer".
        sentences: the numbers behind it, success among them.
        main: the effect that decided, None where there is none to name.
    """

    run: str
    condition: str
    verdict: Verdict
    headline: str
    sentences: Sequence[str]
    main: Effect | None = None


def findings_of(run: AnalysedRun, runs: Sequence[AnalysedRun] = ()) -> list[Finding]:
    """One finding per condition of a run other than its random one and what the others are compared with."""
    effects = effects_of(run, runs)
    summaries = {summary.condition: summary for summary in summaries_of(run) if summary.draw is None}
    findings = []
    for condition in run.conditions:
        episodes = [episode for episode in run.episodes if episode.condition == condition]
        compared = any(effect.condition == condition for effect in effects)
        if episodes[0].arm == RANDOM or (episodes[0].arm == UNSTEERED and not compared):
            continue
        findings.append(_finding(run, condition, effects, summaries[condition]))
    return findings


def expectation(condition: str, coefficients: Mapping[str, float]) -> tuple[str, int] | None:
    """Quantity and direction that a condition's name promises; None unless one feature was turned up."""
    turned = [name for name, value in coefficients.items() if value > 0]
    if len(coefficients) != 1 or len(turned) != 1 or not condition.startswith(turned[0]):
        return None
    words = re.findall(r"[a-z]+", turned[0].lower())
    return next((EXPECTED[word] for word in words if word in EXPECTED), None)


def _finding(run: AnalysedRun, condition: str, effects: Sequence[Effect], summary: Summary) -> Finding:
    own = [effect for effect in effects if effect.condition == condition]
    success = effect_of_quantity(own, "success", condition)
    if summary.non_action_tokens > MOST_NON_ACTION:
        return Finding(
            run.name,
            condition,
            Verdict.OVER_STEERED,
            "no effect can be claimed",
            (
                f"{summary.non_action_tokens:.1f} % of the tokens are no actions; above {MOST_NON_ACTION:g} %, what"
                " moves is no behaviour of the policy.",
                _success(summary, success),
            ),
        )
    if not own or own[0].pairs < 2:
        turned = _turned(run, condition)
        headline = f"{', '.join(turned)} turned while it ran" if turned else "nothing to compare with"
        sentences = [_success(summary, success), *_told(summary), *turned.values()]
        return Finding(run.name, condition, Verdict.UNPAIRED, headline, sentences)
    expected = expectation(condition, run.coefficients)
    if expected is None:
        return _without_expectation(run, condition, own, summary, success)
    quantity, sign = expected
    main = effect_of_quantity(own, quantity, condition)
    if main is None:
        return _without_expectation(run, condition, own, summary, success)
    null = draw_differences(effects, quantity)
    verdict = _verdict(main, sign, null, success)
    if verdict is Verdict.NONE_SEEN:
        headline = f"{QUANTITIES[quantity].name} not seen to change"
    else:
        headline = _headline(main)
    sentences = [_size(main), _beside_null(main, null), _success(summary, success), _also(own, condition, quantity)]
    return Finding(run.name, condition, verdict, headline, [s for s in sentences if s], main)


def _verdict(main: Effect, sign: int, null: Sequence[float], success: Effect | None) -> Verdict:
    if not main.sure:
        return Verdict.NONE_SEEN
    if sign * main.difference < 0:
        return Verdict.OPPOSITE
    if null and not all(sign * main.difference > sign * other for other in null):
        return Verdict.LIKE_RANDOM
    if success is not None and success.difference < -MOST_SUCCESS_LOSS:
        return Verdict.COSTLY
    return Verdict.AS_NAMED if null else Verdict.NO_NULL


def _without_expectation(
    run: AnalysedRun, condition: str, own: Sequence[Effect], summary: Summary, success: Effect | None
) -> Finding:
    tested = [e for e in own if e.counting == EQUAL]
    moved = [e for e in tested if e.sure]
    main = next((e for key in _PLAIN for e in moved if e.quantity == key), None)
    verdict = Verdict.CHANGED if moved else Verdict.NONE_SEEN
    headline = _headline(main) if main else f"{len(moved)} of {len(tested)} quantities changed"
    about = (
        f"Nothing was expected of the name; {len(moved)} of {len(tested)} quantities have an interval that excludes 0,"
        " and one in twenty does so by chance."
    )
    return Finding(
        run.name,
        condition,
        verdict,
        headline,
        [about, *(_size(e) for e in tested if e.quantity in _PLAIN), _success(summary, success)],
        main,
    )


def _headline(effect: Effect) -> str:
    up, down = _WORDS[effect.quantity]
    return (up if effect.difference > 0 else down).format(abs(100 * effect.relative))


def _size(effect: Effect) -> str:
    quantity = QUANTITIES[effect.quantity]
    return (
        f"{quantity.name[0].upper()}{quantity.name[1:]} {effect.mean:.1f} {quantity.unit}, unsteered"
        f" {effect.reference:.1f}: {effect.difference:+.1f} {quantity.unit}, 95 % interval"
        f" {effect.low:+.1f} to {effect.high:+.1f} ({effect.pairs} pairs, {effect.counting})."
    )


def _beside_null(main: Effect, null: Sequence[float]) -> str:
    if not null:
        return "No random neurons were tried, so that nothing says that it takes these ones."
    unit = QUANTITIES[main.quantity].unit
    sign = 1 if main.difference > 0 else -1
    beyond = sum(sign * main.difference > sign * other for other in null)
    if len(null) == 1:
        return f"The one random draw: {null[0]:+.1f} {unit}."
    spread = f"{min(null):+.1f} to {max(null):+.1f} {unit}"
    whom = "both random draws" if len(null) == 2 else f"all {len(null)} random draws"
    return (
        f"Beyond {whom} ({spread})."
        if beyond == len(null)
        else (f"Beyond {beyond} of {len(null)} random draws ({spread}).")
    )


def _success(summary: Summary, success: Effect | None) -> str:
    beside = "" if success is None else f", unsteered {success.reference:.0f} % on the same starts"
    if not summary.episodes:
        return "No episode ended by itself."
    rate = f" ({summary.rate:.0f} %)"
    return f"Success in {summary.successes} of {_count(summary.episodes)}{rate}{beside}."


def _count(episodes: int) -> str:
    return "one finished episode" if episodes == 1 else f"{episodes} finished episodes"


def _told(summary: Summary) -> list[str]:
    known = [key for key in _PLAIN if key in summary.means]
    return [f"{QUANTITIES[k].name.capitalize()} {summary.means[k]:.1f} {QUANTITIES[k].unit} on average." for k in known]


def _turned(run: AnalysedRun, condition: str) -> dict[str, str]:
    """Knob -> how the arm moved at its lowest and at its highest value, for knobs that were turned."""
    episodes = [episode for episode in run.episodes if episode.condition == condition]
    told = {}
    for knob in turned_knobs(episodes):
        levels = knob_levels(episodes, knob)
        ends = [levels[0], levels[-1]] if len(levels) > 1 else levels
        shown = [
            f"{'off' if level.value != level.value else f'at {level.value:.3g}'}: {level.speed_mm_s:.0f} mm/s,"
            f" {level.height_mm:.0f} mm high"
            for level in ends
        ]
        told[knob] = f"{knob} {'; '.join(shown)}."
    return told


def _also(own: Sequence[Effect], condition: str, main: str) -> str:
    others = [e for key in _PLAIN if key != main and (e := effect_of_quantity(own, key, condition)) and e.sure]
    return "".join(f"Besides: {_headline(e)}." for e in others)
