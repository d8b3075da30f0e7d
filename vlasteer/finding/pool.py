"""Which neurons may be chosen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, SiteKey
from vlasteer.errors import ConceptError
from vlasteer.finding.options import Depth, FindOptions
from vlasteer.projection import VOCABULARY_STREAM, Projection

_LISTED = 30


def listed(projection: Projection) -> int:
    """How many of a neuron's top tokens it is said to list: 30 (the paper's label), or all where fewer are kept."""
    return min(_LISTED, projection.options.top_k)


@dataclass(frozen=True)
class Pool:
    """Neurons that may be chosen, as rows of `projection` stacked.

    Attributes:
        projection: of the sites that are looked at.
        rows: int64, ascending.
        left_out: how many of those sites' neurons each filter took.
    """

    projection: Projection
    rows: NDArray[np.int64]
    left_out: dict[str, int]


def make_pool(
    anatomy: Anatomy,
    projection: Projection,
    options: FindOptions,
    action_ids: Collection[int],
    antonyms: Collection[int],
) -> Pool:
    """Apply depth, reach and filters.

    Raises:
        ConceptError: no neuron is left.
    """
    keys = _depth(anatomy, projection, options.depth)
    left_out: dict[str, int] = {}
    if not options.unreachable:
        reaching = [key for key in keys if anatomy.site(*key).reaches_action]
        left_out["unreachable"] = sum(len(projection.ids[key]) for key in keys if key not in reaching)
        keys = reaching
    if not keys:
        raise ConceptError(
            f"no projected layer is in the {options.depth} half and reaches an action",
            fix="Choose another depth, or project more sites",
        )
    projection = projection.restricted(keys)
    allowed = np.ones(len(projection), bool)
    for name, active, tokens in (
        ("action tokens", options.exclude_action_tokens, action_ids),
        ("antonyms", options.exclude_antonyms, antonyms),
    ):
        if active:
            listing = np.concatenate([projection.count(key, tokens, listed(projection)) > 0 for key in projection.keys])
            left_out[name] = int((allowed & listing).sum())
            allowed &= ~listing
    rows = np.flatnonzero(allowed)
    if not len(rows):
        raise ConceptError(f"the filters leave no neuron ({left_out})", fix="Drop a filter")
    return Pool(projection, rows, left_out)


def _depth(anatomy: Anatomy, projection: Projection, depth: Depth) -> list[SiteKey]:
    """Projected sites of the wanted half; of an odd number of layers the early half has the smaller part."""
    layers = len(anatomy.stream_sites(VOCABULARY_STREAM))
    if depth == "full":
        return list(projection.keys)
    return [key for key in projection.keys if (key.layer < layers // 2) == (depth == "early")]
