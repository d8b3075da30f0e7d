"""Contrast: what changes inside when the instruction says the concept rather than its opposite.

The feature is the difference of means of FFN activations between paired observations, which differ in the instruction's
words only (after Rimsky et al. 2024, "Steering Llama 2 via contrastive activation addition", with FFN activations for
the residual stream). It is dense, one weight for every neuron, or the k neurons that change most; it is added.

Activations count where actions come from: at the last position of every pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, Neuron, Site, SiteKey, record_activations
from vlasteer.errors import ConfigError, SteeringError
from vlasteer.finding.lexicon import Concept
from vlasteer.finding.words import look_up, look_up_concept
from vlasteer.protocols import Policy
from vlasteer.steering import Feature
from vlasteer.steering.features import Operator, WeightedNeuron
from vlasteer.types import Observation

Pair = tuple[Observation, Observation]
_BATCH = 8
_LEAST_SPREAD = 1e-6


def paired_prompts(observations: Iterable[Observation], concept: Concept, anatomy: Anatomy) -> list[Pair]:
    """Every observation with a word of the concept behind its instruction, and with a word of the opposite.

    Words are taken in turn from those that are single tokens.

    Raises:
        ConceptError: no word of the concept is a single token.
        ConfigError: the concept has no opposite with such a word.
    """
    words = list(look_up_concept(anatomy.token_basis, concept).found)
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
    scope: str = "all",
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
        scope: where the feature acts.
        noise: of policies that sample; the same for every observation.

    Returns:
        A feature with operator `add`; coefficient 1 adds the difference once.

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
    strength = np.abs(mean) / (spread + max(float(np.median(spread)), _LEAST_SPREAD))
    order = np.argsort(-strength, kind="stable")[: len(mean) if k is None else k]
    owners = [Neuron(stream, site.key.layer, i) for site in sites for i in range(site.width)]
    chosen = [WeightedNeuron(owners[i], float(mean[i])) for i in sorted(order)]
    evidence: dict[str, Any] = {
        "method": "contrast",
        "pairs": len(pairs),
        "k": k,
        "layers": [site.key.layer for site in sites],
        "norm": {str(site.key): float(np.linalg.norm(part)) for site, part in _by_site(sites, mean)},
        "instructions": [[one.instruction, other.instruction] for one, other in pairs[:4]],
    }
    return Feature(name, tuple(chosen), Operator.ADD, scope, evidence)


def _saying(seen: Observation, word: str) -> Observation:
    return replace(seen, instruction=f"{seen.instruction} {word}")


def _sites(anatomy: Anatomy, stream: str, layers: Sequence[int] | None) -> list[Site]:
    if layers is not None:
        return [anatomy.site(stream, layer) for layer in layers]
    return [site for site in anatomy.stream_sites(stream) if site.reaches_action]


def _difference(
    policy: Policy, sites: Sequence[Site], pairs: Sequence[Pair], noise: NDArray[np.float32] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64 [neurons of all sites] mean difference, and how much it varies between batches of pairs."""
    differences, sizes = [], []
    for first in range(0, len(pairs), _BATCH):
        batch = pairs[first : first + _BATCH]
        one, other = (_mean_activations(policy, sites, [pair[i] for pair in batch], noise) for i in (0, 1))
        differences.append(one - other)
        sizes.append(len(batch))
    stacked = np.array(differences)
    return np.average(stacked, axis=0, weights=sizes), stacked.std(0)


def _mean_activations(
    policy: Policy, sites: Sequence[Site], seen: Sequence[Observation], noise: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    keys: list[SiteKey] = [site.key for site in sites]
    with record_activations(policy.anatomy, sites, last_position_only=True) as recorded:
        policy.act_batch(seen, noise)
    means = [np.concatenate([values[:, 0].double().numpy() for values in recorded.passes[key]]).mean(0) for key in keys]
    return np.concatenate(means)


def _by_site(sites: Sequence[Site], values: NDArray[np.float64]) -> list[tuple[Site, NDArray[np.float64]]]:
    ends = np.cumsum([site.width for site in sites])[:-1]
    return list(zip(sites, np.split(values, ends), strict=True))
