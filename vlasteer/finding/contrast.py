"""Contrast: what changes inside when the instruction says the concept rather than its opposite.

The feature is the difference of means of FFN activations between paired observations, which differ in the instruction's
words only (after Rimsky et al. 2024, "Steering Llama 2 via contrastive activation addition", with FFN activations for
the residual stream). It is dense, one weight for every neuron, or the k neurons that change most; it is added.

What is added changes what comes after it: later layers, and later action tokens, which are generated from earlier ones,
move by themselves, and their differences would count twice. So differences are taken again with the feature mounted,
until what is added is what was missing: at coefficient 1 the counterparts' mean activations are those of the
observations with the concept.

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
from vlasteer.steering import Feature, Steering, Term, steer
from vlasteer.steering.features import Operator, WeightedNeuron
from vlasteer.steering.scopes import scope_kinds
from vlasteer.types import Observation

Pair = tuple[Observation, Observation]
Against = Literal["opposite", "nothing"]
_ByKind = dict[str, NDArray[np.float64]]
_BATCH = 8
_SETTLED = 0.02
"""Change of the weights in a round, as a share of their norm, below which there is no further one."""

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
    rounds: int = 8,
    progress: Callable[[int, int], None] | None = None,
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
        rounds: times that differences are taken, at most; fewer where the weights settle. 1 takes them once, with
            nothing mounted; every further one puts right what follows from what was added.
        progress: told how many observations were shown of how many, at most.

    Returns:
        A feature with operator `add`, with weights for every kind of position that the policy's answer is read from.
        Coefficient 1 adds what the difference takes. Where no weights are known for a kind, their mean counts.

    Raises:
        SteeringError: a steering is mounted, or a layer does not exist.
        ConfigError: no pairs, or k or rounds below 1.
    """
    anatomy = policy.anatomy
    if not pairs:
        raise ConfigError("a contrast of no observations", expected="at least one pair")
    if k is not None and k < 1:
        raise ConfigError(f"k {k}", expected="at least 1, or none for a dense feature")
    if rounds < 1:
        raise ConfigError(f"rounds {rounds}", expected="at least 1")
    if any(context.port_values is not None for context in anatomy.contexts.values()):
        raise SteeringError("a contrast cannot be taken while a steering is mounted", fix="Leave it first")
    sites = _sites(anatomy, stream, layers)
    given, counterparts = ([pair[side] for pair in pairs] for side in (0, 1))

    def tell(shown: int) -> None:
        if progress is not None:
            progress(shown * len(pairs), (1 + rounds) * len(pairs))

    wanted = _activations(policy, sites, given, noise)
    tell(1)
    weights, spread = _difference(wanted, _activations(policy, sites, counterparts, noise))
    tell(2)
    weights = {kind: weights[kind] for kind in anatomy.contexts[stream].kind_names if kind in weights}
    chosen = _strongest(weights, spread, k)
    acts_at = scope or "+".join(weights)
    owners = [Neuron(stream, site.key.layer, i) for site in sites for i in range(site.width)]

    def feature(evidence: Mapping[str, Any]) -> Feature:
        average = np.mean(list(weights.values()), axis=0)
        return Feature(
            name,
            tuple(WeightedNeuron(owners[i], float(average[i])) for i in chosen),
            Operator.ADD,
            acts_at,
            evidence,
            {kind: tuple(map(float, values[chosen])) for kind, values in weights.items()},
        )

    names = anatomy.contexts[stream].kind_names
    added_to = {names[i] for i in scope_kinds(acts_at, names)} & weights.keys()
    taken, change = 1, 1.0
    while taken < rounds and change > _SETTLED:
        with steer(policy, Steering([Term(feature({}), 1.0, Operator.ADD, acts_at)])):
            missing, _ = _difference(wanted, _activations(policy, sites, counterparts, noise))
        change = 0.0
        for kind in added_to & missing.keys():
            weights[kind][chosen] += missing[kind][chosen]
            norm = max(float(np.linalg.norm(weights[kind][chosen])), _LEAST_SPREAD)
            change = max(change, float(np.linalg.norm(missing[kind][chosen])) / norm)
        taken += 1
        tell(1 + taken)
    tell(1 + rounds)
    return feature(
        {
            "method": "contrast",
            "pairs": len(pairs),
            "k": k,
            "layers": [site.key.layer for site in sites],
            "rounds": taken,
            "last_change": change,
            "norm": _norms(sites, weights),
            "instructions": [[one.instruction, other.instruction] for one, other in pairs[:4]],
        }
    )


def _saying(seen: Observation, word: str) -> Observation:
    return replace(seen, instruction=f"{seen.instruction} {word}")


def _sites(anatomy: Anatomy, stream: str, layers: Sequence[int] | None) -> list[Site]:
    if layers is not None:
        return [anatomy.site(stream, layer) for layer in layers]
    return [site for site in anatomy.stream_sites(stream) if site.reaches_action]


def _strongest(weights: _ByKind, spread: _ByKind, k: int | None) -> NDArray[np.int64]:
    """Ascending indices of the k neurons that change most in units of their spread; None: of all."""
    strength = _overall(weights) / (_overall(spread) + max(float(np.median(_overall(spread))), _LEAST_SPREAD))
    return np.sort(np.argsort(-strength, kind="stable")[:k])


def _activations(
    policy: Policy, sites: Sequence[Site], seen: Sequence[Observation], noise: NDArray[np.float32] | None
) -> list[tuple[int, _ByKind]]:
    """Of every batch: its size, and kind of position -> float64 [neurons of all sites] mean activation as steered."""
    batches = [seen[first : first + _BATCH] for first in range(0, len(seen), _BATCH)]
    return [(len(batch), _mean_activations(policy, sites, batch, noise)) for batch in batches]


def _difference(ones: Sequence[tuple[int, _ByKind]], others: Sequence[tuple[int, _ByKind]]) -> tuple[_ByKind, _ByKind]:
    """Kind of position -> float64 [neurons of all sites] mean difference; and how much it varies between batches.

    A kind that only one side of a batch has reached (answers of unequal length) is left out there.
    """
    differences: dict[str, list[NDArray[np.float64]]] = {}
    sizes: dict[str, list[int]] = {}
    for (size, one), (_, other) in zip(ones, others, strict=True):
        for kind in one.keys() & other.keys():
            differences.setdefault(kind, []).append(one[kind] - other[kind])
            sizes.setdefault(kind, []).append(size)
    mean = {kind: np.average(values, axis=0, weights=sizes[kind]) for kind, values in differences.items()}
    return mean, {kind: np.std(values, axis=0) for kind, values in differences.items()}


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
