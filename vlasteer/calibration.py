"""Natural activations: how strongly a feature's neurons fire when nobody steers.

A value vector has no intrinsic sign and no natural unit: gated activations are negative as often as not, and a
coefficient of 10 is nothing for one neuron and far off the manifold for another. With quantiles of the natural
activation a coefficient can be given as `q0.99`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, Neuron, SiteKey, record_activations, record_kinds
from vlasteer.errors import ObservationError, SteeringError
from vlasteer.protocols import Policy
from vlasteer.steering import Feature
from vlasteer.steering.scopes import scope_kinds
from vlasteer.types import Observation

PROBABILITIES = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


def calibrate(
    policy: Policy,
    features: Sequence[Feature],
    observations: Iterable[Observation],
    *,
    noise: NDArray[np.float32] | None = None,
    probabilities: Sequence[float] = PROBABILITIES,
    progress: Callable[[int], None] | None = None,
) -> list[Feature]:
    """Measure the natural activation of every neuron of `features` and return them with quantiles filled in.

    The unsteered policy answers every observation. An activation counts for a feature at the positions that the
    feature's scope covers, in every pass: in the prompt for `prefill`, at generated tokens for `decode`. Padded
    positions (blank cameras and the rest of the prompt in Pi0) have no kind of their own and count like any other.

    Args:
        policy: with no steering mounted.
        features: what to measure.
        observations: each is answered once, alone.
        noise: of policies that sample; the same for every observation.
        probabilities: of the quantiles, 0 to 1.
        progress: called with the number of observations answered.

    Raises:
        SteeringError: a steering is mounted, a neuron does not exist, or a scope covers no position.
        ObservationError: there are no observations.
    """
    anatomy = policy.anatomy
    if any(context.port_values is not None for context in anatomy.contexts.values()):
        raise SteeringError("natural activations cannot be measured while a steering is mounted", fix="Leave it first")
    scopes = {feature.name: _kinds(anatomy, feature) for feature in features}
    wanted = _columns(anatomy, features)
    sites = [anatomy.site(*key) for key in wanted]
    seen: dict[Neuron, list[NDArray[np.float32]]] = {n: [] for key in wanted for n in _neurons(key, wanted[key])}
    kinds: dict[str, list[NDArray[np.int64]]] = {key.stream: [] for key in wanted}
    answered = 0
    with record_activations(anatomy, sites, neurons=wanted) as recorded, record_kinds(anatomy, sites) as passes:
        for observation in observations:
            policy.act(observation, noise)
            for stream, record in passes.items():
                kinds[stream] += [kind.cpu().numpy() for kind in record]
                record.clear()
            for key, record in recorded.passes.items():
                for values in record:
                    for column, neuron in enumerate(_neurons(key, wanted[key])):
                        seen[neuron].append(values[0, :, column].float().numpy())
                record.clear()
            answered += 1
            if progress is not None:
                progress(answered)
    if not answered:
        raise ObservationError("no observation to measure natural activations on", expected="at least one")
    positions = {stream: np.concatenate(record) for stream, record in kinds.items()}
    activations = {neuron: np.concatenate(values) for neuron, values in seen.items()}
    return [
        _with_quantiles(feature, activations, positions, scopes[feature.name], probabilities, answered)
        for feature in features
    ]


def _kinds(anatomy: Anatomy, feature: Feature) -> dict[str, tuple[int, ...]]:
    """Stream -> kinds of position that the feature's scope covers."""
    streams = {item.neuron.stream for item in feature.neurons}
    return {stream: scope_kinds(feature.scope, anatomy.contexts[stream].kind_names) for stream in sorted(streams)}


def _columns(anatomy: Anatomy, features: Sequence[Feature]) -> dict[SiteKey, list[int]]:
    """Site -> indices of all features' neurons, ascending."""
    columns: dict[SiteKey, set[int]] = {}
    for feature in features:
        for item in feature.neurons:
            columns.setdefault(anatomy.check(item.neuron).key, set()).add(item.neuron.index)
    return {key: sorted(columns[key]) for key in sorted(columns)}


def _neurons(key: SiteKey, indices: Sequence[int]) -> list[Neuron]:
    return [Neuron(key.stream, key.layer, index) for index in indices]


def _with_quantiles(
    feature: Feature,
    activations: Mapping[Neuron, NDArray[np.float32]],
    positions: Mapping[str, NDArray[np.int64]],
    scope: Mapping[str, tuple[int, ...]],
    probabilities: Sequence[float],
    observations: int,
) -> Feature:
    covered = {stream: np.isin(positions[stream], kinds) for stream, kinds in scope.items()}
    if empty := [stream for stream, mask in covered.items() if not mask.any()]:
        raise SteeringError(
            f"scope '{feature.scope}' of feature '{feature.name}' covered no position of stream '{empty[0]}'",
            expected="a scope that the policy's passes have",
        )
    neurons = []
    for item in feature.neurons:
        values = activations[item.neuron][covered[item.neuron.stream]]
        points = np.quantile(values.astype(np.float64), probabilities)
        neurons.append(replace(item, quantiles=dict(zip(map(float, probabilities), map(float, points), strict=True))))
    counted = {stream: int(mask.sum()) for stream, mask in covered.items()}
    measured = {"observations": observations, "positions": counted, "scope": feature.scope}
    return replace(feature, neurons=tuple(neurons), evidence={**feature.evidence, "calibration": measured})
