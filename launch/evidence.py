"""A feature's evidence for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlasteer.steering import Feature

_WORDS_SHOWN = 8
_TOKENS_SHOWN = 6
_PAIRS_SHOWN = 2
_QUANTILES_SHOWN = (0.01, 0.5, 0.99, 1.0)


def describe(feature: Feature) -> str:
    """A feature and its evidence for people, as several lines."""
    evidence = feature.evidence
    if evidence["method"] == "contrast":
        return "\n".join(_contrast_lines(feature))
    less = f" minus {evidence['minus']}" if evidence["minus"] else ""
    lines = [f"{feature.name}: {len(feature)} neurons by {evidence['method']} for {evidence['concept']}{less}"]
    lines += _word_lines("words", evidence["words"])
    if evidence["minus_words"]:
        lines += _word_lines(f"words of {evidence['minus']}", evidence["minus_words"])
    if evidence["method"] == "semantic":
        reach = "all neurons" if evidence["exhaustive"] else f"the {evidence['seeds_tried']} nearest neurons"
        lines.append(
            f"  cluster of {evidence['seed']} (place {evidence['seed_place'] + 1}; seeds tried: {reach}), "
            f"centroid cosine {evidence['centroid_cosine']:.3f} with {' - '.join(evidence['concept_tokens'])}"
        )
    if left_out := {what: count for what, count in evidence["left_out"].items() if count}:
        lines.append("  left out: " + ", ".join(f"{count} neurons ({what})" for what, count in left_out.items()))
    listed = evidence["listed_tokens"]
    lines += [
        "",
        f"  {'neuron':<14} {'score':>7}  {'actions':>7}  top tokens; of the top {listed} [hits] and !antonyms!",
    ]
    lines += [_neuron_line(entry) for entry in evidence["neurons"]]
    lines += [
        "",
        f"  {evidence['neurons_with_antonyms']} of {len(feature)} list an antonym, "
        f"{evidence['neurons_with_action_tokens']} an action token; action tokens are "
        f"{evidence['action_share']:.0%} of their top {listed} ({evidence['action_share_of_all']:.0%} of all neurons')",
    ]
    if feature.neurons[0].quantiles:
        lines += _activation_lines(feature)
    return "\n".join(lines)


def _contrast_lines(feature: Feature) -> list[str]:
    evidence = feature.evidence
    norms: Mapping[str, Mapping[str, float]] = evidence["norm"]
    sites = list(next(iter(norms.values())))
    lines = [
        f"{feature.name}: {len(feature)} neurons by contrast of {evidence['pairs']} pairs of instructions, such as",
        *(f"  '{one}' and '{other}'" for one, other in evidence["instructions"][:_PAIRS_SHOWN]),
        f"  differences taken {evidence['rounds']} times; the last changed them by {evidence['last_change']:.0%}",
        "",
        f"  {'norm added at':<14} " + " ".join(f"{site:>9}" for site in sites),
    ]
    lines += [f"  {kind:<14} " + " ".join(f"{norms[kind][site]:9.4f}" for site in sites) for kind in norms]
    return lines


def _word_lines(what: str, words: Mapping[str, Any]) -> list[str]:
    found = [f"{word} ({' '.join(pieces)})" for word, pieces in words["found"].items()]
    lines = [f"  {what} that are single tokens: {_shown(found)}"]
    if words["missing"]:
        lines.append(f"  {what} that are not: {_shown(words['missing'])}")
    return lines


def _shown(items: Sequence[str]) -> str:
    more = f" and {len(items) - _WORDS_SHOWN} more" if len(items) > _WORDS_SHOWN else ""
    return ", ".join(items[:_WORDS_SHOWN]) + more


def _neuron_line(entry: Mapping[str, Any]) -> str:
    top = " ".join(label for label, _ in entry["tokens"][:_TOKENS_SHOWN])
    score = f"{entry['score']:7d}" if isinstance(entry["score"], int) else f"{entry['score']:7.3f}"
    marks = f" [{' '.join(entry['hits'])}]" if entry["hits"] else ""
    marks += f" !{' '.join(entry['antonyms'])}!" if entry["antonyms"] else ""
    return f"  {entry['neuron']:<14} {score}  {entry['action_share']:7.0%}  {top};{marks}"


def _activation_lines(feature: Feature) -> list[str]:
    measured = feature.evidence["calibration"]
    positions = sum(measured["positions"].values())
    lines = [
        "",
        f"  natural activation at {positions} positions of {measured['observations']} observations "
        f"(scope {measured['scope']})",
        f"  {'neuron':<14} " + " ".join(f"{f'q{p:g}':>9}" for p in _QUANTILES_SHOWN),
    ]
    for item in feature.neurons:
        values = " ".join(f"{item.quantiles[p]:9.4f}" for p in _QUANTILES_SHOWN)
        lines.append(f"  {item.neuron!s:<14} {values}")
    return lines
