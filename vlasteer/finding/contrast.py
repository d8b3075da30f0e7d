"""Contrast: what changes inside when the instruction says the concept rather than its opposite.

The feature is the difference of means of FFN activations between paired observations, which differ in the instruction's
words only (after Rimsky et al. 2024, "Steering Llama 2 via contrastive activation addition", with FFN activations for
the residual stream). It is dense, one weight for every neuron, or the k neurons that change most; it is added.

Activations count where actions come from, every kind of position by itself: at the last position of a pass, or, where a
policy says that its answer is read from others (Pi0's expert attends to the whole prefix but its padding), at the mean
of these. Where the policy tells the positions of its action tokens apart, so does the feature: what "fast" does to a
neuron while x is decided is another thing than while the gripper is, and their average steers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlasteer.anatomy import Anatomy, Neuron, Site
from vlasteer.errors import ConfigError, SteeringError
from vlasteer.finding.lexicon import Concept
from vlasteer.finding.words import look_up, look_up_concept
from vlasteer.passes import PassContext
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
        A feature with operator `add`, with weights for every kind of position that the policy's answer is read from.
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
    """Kind -> float64 [neurons of all sites] mean over all rows of all passes that are read from at such positions."""
    context = policy.anatomy.contexts[sites[0].key.stream]
    found: list[dict[str, list[Tensor]]] = [{} for _ in sites]

    def hook_for(own: dict[str, list[Tensor]]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            for kind, values in _read(args[0].detach(), context).items():
                own.setdefault(kind, []).append(values)

        return hook

    with ExitStack() as stack, torch.no_grad():
        for site, own in zip(sites, found, strict=True):
            projection = policy.anatomy.down_proj(site)
            stack.callback(projection.register_forward_pre_hook(hook_for(own)).remove)
        policy.act_batch(seen, noise)
    return {kind: torch.cat([torch.cat(own[kind]).mean(0) for own in found]).numpy() for kind in found[0]}


def _read(hidden: Tensor, context: PassContext) -> dict[str, Tensor]:
    """Kind -> float64 [rows, neurons] mean of every row's activations where the running pass is read from."""
    read_from = context.read_from
    if read_from is None:
        read_from = torch.zeros(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        read_from[:, -1] = True
    kinds = context.kinds[: hidden.shape[1]]
    means = {}
    for kind in kinds[read_from.any(dim=0)].unique().tolist():
        where = (read_from.any(dim=0) & (kinds == kind)).nonzero()[:, 0]
        counted = read_from[:, where, None]
        total = (hidden[:, where] * counted).sum(dim=1, dtype=torch.float64)
        count = counted.sum(dim=1)
        means[context.kind_names[kind]] = (total / count)[count[:, 0] > 0].cpu()
    return means


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
