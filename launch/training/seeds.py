"""Cards of several trainings beside each other: what holds for every seed, and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlasteer.errors import InputError
from vlasteer.recording.atomic import replace_text

_METHODS = ("projection", "contrast")
Numbers = Mapping[str, Any]


def read_cards(paths: Sequence[str]) -> list[Numbers]:
    """card.json files, given by their paths or folders, by kind and seed.

    Raises:
        InputError: a file that is missing or no card of a training.
    """
    cards = []
    for path in map(Path, paths):
        file = path / "card.json" if path.is_dir() else path
        try:
            card = json.loads(file.read_text(encoding="utf-8"))
            _ = (card["training"]["kind"], card["training"]["seed"], card["neutral"], card["adverbs"])
            _ = (card["options"]["selection"], card["seeds"]["report"])
        except FileNotFoundError:
            raise InputError(f"there is no card at {file}", fix="Make it: vlasteer organism card") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is no card of a training ({type(error).__name__}: {error})") from error
        cards.append(card)
    return sorted(cards, key=lambda card: (card["training"]["kind"], card["training"]["seed"]))


def write_seeds(folder: Path, cards: Sequence[Numbers]) -> tuple[Path, str]:
    """Write seeds.md; return its path and text."""
    text = seeds_text(cards)
    replace_text(folder / "seeds.md", text)
    return folder / "seeds.md", text


def seeds_text(cards: Sequence[Numbers]) -> str:
    """One row per training: gates, effects and verdicts."""
    concepts = list(cards[0]["adverbs"])
    lines = []
    tables = {"Adverb in the prompt": _adverb} | {f"{method.capitalize()} features": _of(method) for method in _METHODS}
    for title, cell in tables.items():
        lines += [
            f"### {title}",
            "",
            f"| training | episodes a cell | chosen, reported on | success without manner | {' | '.join(concepts)} |",
            "|---" * (4 + len(concepts)) + "|",
        ]
        for card in cards:
            neutral, training, options, seeds = (card[key] for key in ("neutral", "training", "options", "seeds"))
            gate = "" if neutral["passes"] else " (gate NOT passed)"
            lines.append(
                f"| {training['kind']}, seed {training['seed']} | {options['episodes']} "
                f"| {options['selection']} of seed {seeds['selection']}, seed {seeds['report']} "
                f"| {100 * neutral['success']:.1f} %{gate} | {' | '.join(cell(card, c) for c in concepts)} |"
            )
        lines.append("")
    return "\n".join(lines)


def _adverb(card: Numbers, concept: str) -> str:
    row = card["adverbs"][concept]
    gate = "" if row["passes"] else " (gate NOT passed)"
    return f"{100 * row['relative']:+.0f} %, success {100 * row['success']:.0f} %{gate}"


def _of(method: str) -> Callable[[Numbers, str], str]:
    def cell(card: Numbers, concept: str) -> str:
        row = card[method][concept]
        if not row["found"]:
            return "none found"
        share = row["difference"] / card["adverbs"][concept]["difference"]
        failed = ", ".join(test.replace("_", " ") for test, passed in row["tests"].items() if not passed)
        verdict = "**effective**" if row["effective"] else f"ineffective (not: {failed})"
        effect = f"{100 * row['relative']:+.0f} % ({100 * share:.0f} % of the adverb's)"
        return f"{effect}, success {100 * row['success']:.0f} %: {verdict}"

    return cell
