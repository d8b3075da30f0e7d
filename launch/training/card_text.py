"""The numbers of a card as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlasteer.launch.training.card import CONCEPTS
from vlasteer.launch.training.selection import SUFFICIENT
from vlasteer.recording.atomic import replace_json, replace_text

_TESTS = {
    "right_way": "the right way, interval without 0",
    "beyond_all_draws": "beyond all draws",
    "half_of_adverb": "at least half of the adverb's effect",
    "success_kept": "success loss at most 5 points",
    "action_tokens": "non-action tokens at most 1 %",
}


def write_card(folder: Path, numbers: Mapping[str, Any]) -> tuple[Path, str]:
    """Write card.json and card.md; return the path of the first and the text of the second."""
    text = card_text(numbers)
    replace_json(folder / "card.json", dict(numbers))
    replace_text(folder / "card.md", text)
    return folder / "card.json", text


def card_text(numbers: Mapping[str, Any]) -> str:
    """The tables."""
    options, neutral = numbers["options"], numbers["neutral"]
    lines = [
        f"Held-out combinations, positions, shades and phrasings; {options['episodes']} episodes a cell, "
        f"{options['draw_episodes']} for each of {options['draws']} random draws. Features and coefficients were "
        f"chosen on seed {numbers['seeds']['selection']} ({options['selection']} episodes a cell): of what "
        f"reaches {100 * SUFFICIENT:.0f} % of the adverb's effect there and keeps success and action tokens, the one "
        "that loses least success, then the smallest coefficient; else the largest effect that keeps them. "
        f"Everything below is seed {numbers['seeds']['report']}, looked at once. "
        "Differences are paired with the unsteered episodes at equal length, with 95 % "
        "bootstrap intervals.",
        "",
        f"Without any manner: success {_percent(neutral['success'])}, mean step {neutral['mean_step_mm']:.1f} mm, "
        f"peak height {neutral['peak_height_mm']:.0f} mm. Gate (success at least 95 %): {_word(neutral['passes'])}.",
        "",
        "| adverb in the prompt | measure | unsteered | with it | difference | relative | success | non-action "
        "| gate (25 %) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for concept, row in numbers["adverbs"].items():
        lines.append(f"| {concept} | {CONCEPTS[concept][0]} | {_effect(row)} | {_word(row['passes'])} |")
    for method in ("projection", "contrast"):
        lines += ["", f"### Steered by {method} features, no adverb in the prompt", ""]
        lines += [
            "| feature | neurons, layers, operator, coefficient | unsteered | steered | difference | relative "
            "| success | non-action | draws: mean +- sd [lowest, highest], success, worst non-action | verdict |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_steered(concept, row) for concept, row in numbers[method].items()]
    return "\n".join(lines) + "\n"


def _steered(concept: str, row: Mapping[str, Any]) -> str:
    if not row["found"]:
        return f"| {concept} | no neuron found | | | | | | | | ineffective |"
    draws = row["draws"]
    band = (
        f"{draws['mean']:+.1f} +- {draws['deviation']:.1f} [{draws['lowest']:+.1f}, {draws['highest']:+.1f}], "
        f"{_percent(draws['success'])}, {_percent(draws['foreign'])}"
    )
    failed = [_TESTS[test] for test, passed in row["tests"].items() if not passed]
    verdict = "**effective**" if row["effective"] else f"ineffective (not: {'; '.join(failed)})"
    layers = ",".join(str(layer) for layer in row["layers"])
    what = f"{row['neurons']}, {layers}, {row['operator']}, {row['coefficient']:g}"
    return f"| {row['feature']} | {what} | {_effect(row)} | {band} | {verdict} |"


def _effect(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return (
        f"{row['reference']:.1f} | {row['mean']:.1f} | {row['difference']:+.1f} [{low:+.1f}, {high:+.1f}] "
        f"| {100 * row['relative']:+.0f} % | {_percent(row['success'])} | {_percent(row['foreign'])}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def _word(passes: bool) -> str:
    return "passed" if passes else "NOT passed"
