"""Random features to compare a feature with: the same layers, neurons per layer, coefficient and delivered norm.

What a feature with coefficient c delivers at a layer is about c times the weighted sum of its value vectors. A
concept's value vectors agree and add up, random ones do not; left alone, the null would be weaker just for that. So the
weights of a draw are scaled until the sum has the same norm in every layer.
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
    by_site: dict[SiteKey, list[WeightedNeuron]] = defaultdict(list)
    for item in feature.neurons:
        by_site[anatomy.check(item.neuron).key].append(item)
    taken = {item.neuron for item in feature.neurons} | set(avoid)
    rng = np.random.default_rng(seed)
    draws = []
    for i in range(count):
        neurons: list[WeightedNeuron] = []
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
            weights = np.array([item.weight for item in own])
            weights = weights[rng.permutation(len(own))]
            wanted = delivered_norm(anatomy, key, own)
            drawn = [WeightedNeuron(n, float(w)) for n, w in zip(chosen, weights, strict=True)]
            scale = wanted / max(delivered_norm(anatomy, key, drawn), 1e-12)
            neurons += [WeightedNeuron(item.neuron, item.weight * scale) for item in drawn]
        draws.append(Feature(f"{feature.name}~{i}", tuple(neurons), feature.operator, feature.scope))
    return draws


def delivered_norm(anatomy: Anatomy, key: SiteKey, items: Collection[WeightedNeuron]) -> float:
    """Norm of the weighted sum of value vectors at one site: what coefficient 1 writes there."""
    vectors = anatomy.value_vectors(anatomy.site(*key))
    rows: NDArray[np.float64] = np.stack([vectors[item.neuron.index].double().cpu().numpy() for item in items])
    return float(np.linalg.norm(np.array([item.weight for item in items]) @ rows))
