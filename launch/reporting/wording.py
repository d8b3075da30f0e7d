"""Conditions, numbers and dates as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from vlasteer.analysis import AnalysedRun, Finding, Verdict
from vlasteer.checkpoints import read_json, shipped_checkpoints
from vlasteer.launch.reporting.page import BAD, DOUBT, GOOD, NEUTRAL

TONES = {
    Verdict.AS_NAMED: GOOD,
    Verdict.NO_NULL: DOUBT,
    Verdict.COSTLY: DOUBT,
    Verdict.LIKE_RANDOM: DOUBT,
    Verdict.OPPOSITE: BAD,
    Verdict.NONE_SEEN: NEUTRAL,
    Verdict.CHANGED: NEUTRAL,
    Verdict.OVER_STEERED: BAD,
    Verdict.UNPAIRED: NEUTRAL,
}
"""How a verdict is coloured."""


def number(value: float, digits: int = 1, *, sign: bool = False) -> str:
    """A number, or a dash for one that is not known."""
    if math.isnan(value):
        return "–"
    value = round(value, digits) + 0.0  # no minus before a zero
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def interval(low: float, high: float, digits: int = 1) -> str:
    """An interval, or a dash."""
    if math.isnan(low):
        return "–"
    return f"{number(low, digits, sign=True)} to {number(high, digits, sign=True)}"


def digits_of(quantity: str) -> int:
    """Decimals that make sense for a quantity."""
    return {"duration_s": 2, "rise_mm": 2, "success": 0}.get(quantity, 1)


def labels(runs: Sequence[AnalysedRun], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names of (run, condition), with the run in front where the condition alone is not enough."""
    conditions = [condition for _, condition in pairs]
    return [
        f"{run}: {condition}" if len(runs) > 1 and conditions.count(condition) > 1 else condition
        for run, condition in pairs
    ]


def signed(sentence: str) -> str:
    """The sentence with true minus signs before its numbers, and no line broken between a number and its unit."""
    return re.sub(r"(?<=\d) (?=%|mm)", "\u00a0", re.sub(r"(?<=[ (:])-(?=\d)", "−", sentence))


def provenance(runs: Sequence[AnalysedRun]) -> list[str]:
    """What has to be known of the policies: of an organism, that its causality was planted."""
    planted = []
    shipped = shipped_checkpoints()
    for name in dict.fromkeys(run.policy for run in runs):
        card = shipped.get(name, Path(name)) / "training.json"
        if card.is_file() and read_json(card.parent, card.name).get("recipe", {}).get("kind") == "planted":
            planted.append(name)
    return [
        f"{name} is a planted organism: that words steer it was put there in training. What is seen here validates the"
        " tool, and is no evidence about OpenVLA or Pi0"
        for name in planted
    ]


def subtitle(runs: Sequence[AnalysedRun]) -> str:
    """Policies and worlds of some runs."""
    policies = ", ".join(dict.fromkeys(run.policy for run in runs))
    worlds = ", ".join(dict.fromkeys(run.world for run in runs))
    return f"{policies} in {worlds}"


def day(stamp: object) -> str:
    """A timestamp of run.yaml as a date; as it is where it is none."""
    try:
        return datetime.fromisoformat(str(stamp)).strftime("%-d %B %Y")
    except ValueError:
        return str(stamp)


def closing(findings: Sequence[Finding], report: str, videos: Sequence[str], steps: Sequence[str]) -> list[str]:
    """The three lines at the end of a command: what was seen, where to look, what to try next."""
    seen = "; ".join(f"{f.condition}: {f.headline} ({f.verdict})" for f in findings) or "no condition to compare"
    look = "; ".join([report, *videos[:1]]) + f" and {len(videos) - 1} more beside it" * (len(videos) > 1)
    return [f"Seen:      {seen}.", f"Look at:   {look}", f"Try next:  {steps[0] if steps else 'more episodes.'}"]
