"""Contrast: what changes inside when the instruction says the concept rather than its opposite.

The feature is the difference of means of FFN activations between paired observations, which differ in the instruction's
words only (after Rimsky et al. 2024, "Steering Llama 2 via contrastive activation addition", with FFN activations for
the residual stream). It is dense, one weight for every neuron, or the k neurons that change most; it is added.

Activations count where actions come from: at the last position of every pass, and every kind of position by itself.
Where the policy tells the positions of its action tokens apart, so does the feature: what "fast" does to a neuron while
x is decided is another thing than while the gripper is, and their average steers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, Neuron, Site, record_activations, record_kinds
from vlasteer.errors import ConfigError, SteeringError
from vlasteer.finding.lexicon import Concept
from vlasteer.finding.words import look_up, look_up_concept
from vlasteer.protocols import Policy
from vlasteer.steering import Feature
from vlasteer.steering.features import Operator, WeightedNeuron
from vlasteer.types import Observation

Pair = tuple[Observation, Observation]
Against = Literal["opposite", "nothing"]
_ByKind = dict[str, NDArray[np.float64]]
_BATCH = 8
_LEAST_SPREAD = 1e-6


def paired_prompts(
    observations: Iterable[Observation], concept: Concept, anatomy: Anatomy, *, against: Against = "opposite"
) -> list[Pair]:
    """Every observation with a word of the concept behind its instruction, and with a word of the opposite or none.

    Words are taken in turn from those that are single tokens. Against no word the difference is what the concept adds
    to a plain instruction; against the opposite it is free of what any further word would add.

    Raises:
        ConceptError: no word of the concept is a single token.
        ConfigError: the concept has no opposite with such a word.
    """
    words = list(look_up_concept(anatomy.token_basis, concept).found)
    if against == "nothing":
        return [(_saying(seen, words[i % len(words)]), seen) for i, seen in enumerate(observations)]
    opposite = list(look_up(anatomy.token_basis, concept.antonyms).found)
    if not opposite:
        raise ConfigError(
            f"concept '{concept.name}' has no opposite whose words are single tokens",
            expected="a lexicon entry with an opposite or antonyms",
        )
    return [
        (_saying(seen, words[i % len(words)]), _saying(seen, opposite[i % len(opposite)]))
        for i, seen in enumerate(observations)
    ]


def contrast_feature(
    policy: Policy,
    name: str,
    pairs: Sequence[Pair],
    *,
    k: int | None = None,
    layers: Sequence[int] | None = None,
    stream: str = "vlm",
    scope: str | None = None,
    noise: NDArray[np.float32] | None = None,
) -> Feature:
    """The feature that pairs of observations differ in.

    Args:
        policy: with no steering mounted.
        name: of the feature.
        pairs: an observation with the concept, and its counterpart.
        k: neurons to keep, those whose mean changes most in units of its spread; None keeps all (dense).
        layers: to look at; default all whose FFN reaches an action.
        stream: whose FFNs.
        scope: where the feature acts; default the kinds of position at which activations were looked at.
        noise: of policies that sample; the same for every observation.

    Returns:
        A feature with operator `add`, with weights for every kind of position that a pass of the policy ends with.
        Coefficient 1 adds the difference once. Where no weights are known for a kind, their mean counts.

    Raises:
        SteeringError: a steering is mounted, or a layer does not exist.
        ConfigError: no pairs, or k below 1.
    """
    anatomy = policy.anatomy
    if not pairs:
        raise ConfigError("a contrast of no observations", expected="at least one pair")
    if k is not None and k < 1:
        raise ConfigError(f"k {k}", expected="at least 1, or none for a dense feature")
    if any(context.port_values is not None for context in anatomy.contexts.values()):
        raise SteeringError("a contrast cannot be taken while a steering is mounted", fix="Leave it first")
    sites = _sites(anatomy, stream, layers)
    mean, spread = _difference(policy, sites, pairs, noise)
    strength = _overall(mean) / (_overall(spread) + max(float(np.median(_overall(spread))), _LEAST_SPREAD))
    chosen = np.sort(np.argsort(-strength, kind="stable")[:k])
    owners = [Neuron(stream, site.key.layer, i) for site in sites for i in range(site.width)]
    average = np.mean(list(mean.values()), axis=0)
    evidence: dict[str, Any] = {
        "method": "contrast",
        "pairs": len(pairs),
        "k": k,
        "layers": [site.key.layer for site in sites],
        "norm": _norms(sites, mean),
        "instructions": [[one.instruction, other.instruction] for one, other in pairs[:4]],
    }
    return Feature(
        name,
        tuple(WeightedNeuron(owners[i], float(average[i])) for i in chosen),
        Operator.ADD,
        scope or "+".join(mean),
        evidence,
        {kind: tuple(map(float, values[chosen])) for kind, values in mean.items()},
    )


def _saying(seen: Observation, word: str) -> Observation:
    return replace(seen, instruction=f"{seen.instruction} {word}")


def _sites(anatomy: Anatomy, stream: str, layers: Sequence[int] | None) -> list[Site]:
    if layers is not None:
        return [anatomy.site(stream, layer) for layer in layers]
    return [site for site in anatomy.stream_sites(stream) if site.reaches_action]


def _difference(
    policy: Policy, sites: Sequence[Site], pairs: Sequence[Pair], noise: NDArray[np.float32] | None
) -> tuple[_ByKind, _ByKind]:
    """Kind of position -> float64 [neurons of all sites] mean difference; and how much it varies between batches.

    A kind that only one side of a batch has reached (answers of unequal length) is left out there.
    """
    differences: dict[str, list[NDArray[np.float64]]] = {}
    sizes: dict[str, list[int]] = {}
    for first in range(0, len(pairs), _BATCH):
        batch = pairs[first : first + _BATCH]
        one, other = (_mean_activations(policy, sites, [pair[i] for pair in batch], noise) for i in (0, 1))
        for kind in one.keys() & other.keys():
            differences.setdefault(kind, []).append(one[kind] - other[kind])
            sizes.setdefault(kind, []).append(len(batch))
    known = [kind for kind in policy.anatomy.contexts[sites[0].key.stream].kind_names if kind in differences]
    mean = {kind: np.average(differences[kind], axis=0, weights=sizes[kind]) for kind in known}
    return mean, {kind: np.std(differences[kind], axis=0) for kind in known}


def _mean_activations(
    policy: Policy, sites: Sequence[Site], seen: Sequence[Observation], noise: NDArray[np.float32] | None
) -> _ByKind:
    """Kind -> float64 [neurons of all sites] mean over the passes whose last position is of that kind."""
    anatomy = policy.anatomy
    context = anatomy.contexts[sites[0].key.stream]
    with (
        record_kinds(anatomy, sites[:1]) as kinds,
        record_activations(anatomy, sites, last_position_only=True) as recorded,
    ):
        policy.act_batch(seen, noise)
    (passes,) = kinds.values()
    last = [context.kind_names[int(positions[-1])] for positions in passes]
    return {
        kind: torch.cat(
            [
                torch.cat([p[:, 0] for p, where in zip(recorded.passes[site.key], last, strict=True) if where == kind])
                .double()
                .mean(0)
                for site in sites
            ]
        ).numpy()
        for kind in dict.fromkeys(last)
    }


def _overall(values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Root mean square over the kinds of position."""
    return np.sqrt(np.mean(np.square(list(values.values())), axis=0))


def _norms(sites: Sequence[Site], mean: _ByKind) -> dict[str, dict[str, float]]:
    """Kind -> site -> norm of the difference."""
    ends = np.cumsum([site.width for site in sites])[:-1]
    return {
        kind: {
            str(site.key): float(np.linalg.norm(part)) for site, part in zip(sites, np.split(values, ends), strict=True)
        }
        for kind, values in mean.items()
    }
