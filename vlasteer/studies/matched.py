"""Random features to compare a feature with: the same layers, neurons per layer, coefficient and delivered norm.

What a feature with coefficient c delivers at a layer is about c times the weighted sum of its value vectors. A
concept's value vectors agree and add up, random ones do not; left alone, the null would be weaker just for that. So the
weights of a draw are scaled until the sum has the same norm in every layer, and at every kind of position at which the
feature has weights of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, Neuron, SiteKey
from vlasteer.errors import ConfigError
from vlasteer.steering.features import Feature, WeightedNeuron


def matched_draws(
    anatomy: Anatomy, feature: Feature, count: int, *, seed: int = 0, avoid: Collection[Neuron] = ()
) -> list[Feature]:
    """`count` random features that are matched to `feature`, named `<name>~0`, `<name>~1`, ...

    Args:
        anatomy: of the policy.
        feature: what is to be matched; its operator and scope are kept. A draw's weights are a permutation of the
            feature's, scaled. Where it has more than half of a layer's neurons, all of them are drawn from: only the
            weights then change places.
        count: how many.
        seed: of the draws.
        avoid: neurons that are never drawn, besides the feature's own: those that read as the concept, say.

    Raises:
        ConfigError: a layer has too few neurons left to draw from.
    """
    by_site: dict[SiteKey, list[tuple[Neuron, int]]] = defaultdict(list)
    for place, item in enumerate(feature.neurons):
        by_site[anatomy.check(item.neuron).key].append((item.neuron, place))
    taken = {item.neuron for item in feature.neurons} | set(avoid)
    rng = np.random.default_rng(seed)
    draws = []
    for i in range(count):
        neurons: list[Neuron] = []
        drawn: dict[str, list[float]] = {kind: [] for kind in ("", *feature.weights_at)}
        for key, own in sorted(by_site.items()):
            width = anatomy.site(*key).width
            everything = [Neuron(key.stream, key.layer, index) for index in range(width)]
            pool = everything if 2 * len(own) > width else [neuron for neuron in everything if neuron not in taken]
            if len(pool) < len(own):
                raise ConfigError(
                    f"site {key} has {len(pool)} neurons to draw {len(own)} from",
                    expected="at least as many as the feature has there",
                )
            chosen = [pool[j] for j in rng.choice(len(pool), len(own), replace=False)]
            order = rng.permutation(len(own))
            vectors = anatomy.value_vectors(anatomy.site(*key)).double().cpu().numpy()
            there, here = (vectors[[neuron.index for neuron in some]] for some in ([n for n, _ in own], chosen))
            for kind, weights in drawn.items():
                original = np.array([feature.weights(kind)[place] for _, place in own])
                scale = _norm(original, there) / max(_norm(original[order], here), 1e-12)
                weights += (scale * original[order]).tolist()
            neurons += chosen
        items = tuple(WeightedNeuron(neuron, weight) for neuron, weight in zip(neurons, drawn.pop(""), strict=True))
        weights_at = {kind: tuple(weights) for kind, weights in drawn.items()}
        draws.append(Feature(f"{feature.name}~{i}", items, feature.operator, feature.scope, weights_at=weights_at))
    return draws


def _norm(weights: NDArray[np.float64], vectors: NDArray[np.float64]) -> float:
    """Norm of the weighted sum of value vectors [n, hidden]: what coefficient 1 writes."""
    return float(np.linalg.norm(weights @ vectors))


def delivered_norm(anatomy: Anatomy, key: SiteKey, items: Collection[WeightedNeuron]) -> float:
    """Norm of the weighted sum of value vectors at one site: what coefficient 1 writes there."""
    vectors = anatomy.value_vectors(anatomy.site(*key)).double().cpu().numpy()
    return _norm(np.array([item.weight for item in items]), vectors[[item.neuron.index for item in items]])
