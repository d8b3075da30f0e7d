"""Neurons by the words among their top tokens, as picked by hand in the paper's robot experiments.

A neuron's score is the number of its top tokens that hold a word of the concept, in any casing; of equal ones the
neuron with the larger sum of those tokens' projection scores comes first, then the lower layer and index. For a
difference of concepts the counts and the sums are subtracted. Neurons with as many stop words as hits are left out:
what their tokens share is a spelling, not a meaning (fast, breakfast, steadfast).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from vlasteer.errors import ConceptError
from vlasteer.finding.pool import Pool
from vlasteer.projection import Projection


@dataclass(frozen=True)
class Keywords:
    """Token ids that count for a concept, against it, and as mere spelling."""

    concept: Collection[int]
    minus: Collection[int] = ()
    stop: Collection[int] = ()


@dataclass(frozen=True)
class KeywordHit:
    """A chosen neuron: its row in the pool's projection, the count, and the sum of scores that broke ties."""

    row: int
    hits: int
    strength: float


def by_keywords(pool: Pool, keywords: Keywords, k: int, top_n: int) -> list[KeywordHit]:
    """The `k` best neurons, best first; fewer when fewer have any hit.

    Raises:
        ConceptError: none has.
    """
    projection = pool.projection
    hits, strength = _count(projection, keywords.concept, top_n)
    spelling, _ = _count(projection, keywords.stop, top_n)
    if keywords.minus:
        against, weight = _count(projection, keywords.minus, top_n)
        hits, strength = hits - against, strength - weight
    allowed = pool.rows[(hits[pool.rows] > 0) & (spelling[pool.rows] < hits[pool.rows])]
    if not len(allowed):
        raise ConceptError(
            f"no neuron has a word of the concept among its top {top_n} tokens",
            fix="Try --method semantic, a larger --top-n, --match substring, or synonyms with --lexicon FILE",
        )
    order = np.lexsort((allowed, -strength[allowed], -hits[allowed]))[:k]
    return [KeywordHit(int(row), int(hits[row]), float(strength[row])) for row in allowed[order]]


def _count(projection: Projection, tokens: Collection[int], top_n: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 [neurons] number of the wanted tokens, float64 [neurons] sum of their scores."""
    wanted = np.zeros(projection.vocabulary, bool)
    wanted[list(tokens)] = True
    counts, sums = [], []
    for key in projection.keys:
        there = wanted[projection.ids[key][:, :top_n]]
        counts.append(there.sum(1))
        sums.append((projection.scores[key][:, :top_n] * there).sum(1, dtype=np.float64))
    return np.concatenate(counts), np.concatenate(sums)
