"""The paper's clusters: neurons that mean alike, and of those the group that is nearest to a concept's word.

A neuron's semantic embedding is the mean of its top n tokens' output embeddings, weighted by the softmax of their
scores (n = 5). Every neuron with its k - 1 nearest others by cosine is a candidate cluster (k = 10, 20 or 40). A
concept is the output embedding of its word; the cluster whose centroid has the largest cosine with it is chosen (Häon
et al. 2025).

Embeddings of 352,256 neurons are never stored. A product with one of them is a sum of n entries of a product with the
vocabulary, m_i . d = sum_j p_ij (E d)_j, so that a seed's cosines with all neurons cost one pass over the vocabulary:
an identity, nothing is approximated. The candidate clusters of all seeds are still a table of all neurons by all
neurons. Therefore the neurons nearest to the concept are tried as seeds first, then twice as many, and so on until the
best seed is in the nearer quarter of those tried. The result is the exhaustive one unless a neuron further from the
concept than all of them has a neighbourhood that is nearer; no cheap bound excludes this, so the evidence says how many
were tried and which place the chosen one had. `seeds=None` tries all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vlasteer.anatomy import TokenBasis
from vlasteer.errors import ConfigError
from vlasteer.finding.pool import Pool

_BYTES = 8 << 20
"""Bound on each of the few temporaries that are held at once."""
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Cluster:
    """A chosen cluster.

    Attributes:
        rows: its neurons as rows of the pool's projection, nearest to the concept first.
        cosines: of each neuron's embedding with the concept.
        centroid_cosine: of the mean of the embeddings with the concept.
        seed: row of the neuron whose nearest neighbours they are.
        seed_place: 0-based place of the seed among all neurons by nearness to the concept.
        seeds_tried: how many of the nearest neurons were tried as seeds.
        exhaustive: every neuron was.
    """

    rows: tuple[int, ...]
    cosines: tuple[float, ...]
    centroid_cosine: float
    seed: int
    seed_place: int
    seeds_tried: int
    exhaustive: bool


def concept_direction(basis: TokenBasis, token: int, minus: int | None = None) -> Tensor:
    """float32 [hidden] unit direction of a word's output embedding, or of the difference of two words' unit embeddings.

    By the difference, clusters rank as by cosine with the one word minus cosine with the other.
    """
    direction = _unit(basis.matrix[token].detach().float())
    return direction if minus is None else _unit(direction - _unit(basis.matrix[minus].detach().float()))


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp(min=_TINY)


def nearest_cluster(
    pool: Pool,
    basis: TokenBasis,
    direction: Tensor,
    *,
    k: int,
    top_n: int,
    seeds: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> Cluster:
    """The candidate cluster whose centroid has the largest cosine with `direction` [hidden].

    Args:
        pool: neurons that may be seeds and neighbours.
        basis: whose output embeddings are meant.
        direction: unit vector of the concept.
        k: neurons of a cluster.
        top_n: tokens of an embedding.
        seeds: how many of the nearest neurons are tried first; None: all.
        progress: called with seeds tried and seeds to try (which may grow).

    Raises:
        ConfigError: the pool has fewer than k neurons.
    """
    space = _Space(pool, basis, top_n)
    if k > len(space):
        raise ConfigError(f"a cluster of {k} neurons", expected=f"at most {len(space)}, as many as may be chosen")
    direction = direction.to(space.device, torch.float32)
    nearness = space.cosines(direction)
    order = nearness.sort(descending=True, stable=True).indices
    limit = len(space) if seeds is None else min(seeds, len(space))
    best, place, members, tried = -math.inf, 0, order[:k], 0
    while tried < limit:
        for first in range(tried, limit, space.together):
            neighbours = space.neighbours(order[first : min(first + space.together, limit)], k)
            scores = space.centroid_cosines(neighbours, direction)
            winner = int(scores.argmax())
            if float(scores[winner]) > best:
                best, place, members = float(scores[winner]), first + winner, neighbours[winner]
            if progress is not None:
                progress(first + len(neighbours), limit)
        tried = limit
        if place >= tried // 4:
            limit = min(2 * tried, len(space))
    members = members.sort().values
    members = members[nearness[members].sort(descending=True, stable=True).indices]
    return Cluster(
        rows=tuple(int(row) for row in pool.rows[members.cpu().numpy()]),
        cosines=tuple(nearness[members].tolist()),
        centroid_cosine=best,
        seed=int(pool.rows[int(order[place])]),
        seed_place=place,
        seeds_tried=tried,
        exhaustive=tried == len(space),
    )


class _Space:
    """Semantic embeddings of a pool's neurons as weights on tokens; indices count within the pool."""

    def __init__(self, pool: Pool, basis: TokenBasis, top_n: int) -> None:
        self._matrix = basis.matrix.detach()
        self.device = self._matrix.device
        scores = torch.from_numpy(pool.projection.stacked_scores(top_n)[pool.rows])
        self._weights = scores.to(self.device).softmax(1)
        self._ids = torch.from_numpy(pool.projection.stacked_ids(top_n)[pool.rows]).to(self.device).long()
        # Filled in place: small results kept between large temporaries would scatter the heap until nothing is reused.
        self._norms = torch.empty(len(self._ids), device=self.device)
        for rows in torch.arange(len(self), device=self.device).split(
            _together(self._ids.shape[1] * self._matrix.shape[1])
        ):
            torch.linalg.vector_norm(self.embeddings(rows), dim=1, out=self._norms[rows[0] : rows[-1] + 1])
        self.together = min(_together(len(self._matrix)), 256)
        """Seeds whose products with the vocabulary are held at once."""

    def __len__(self) -> int:
        return len(self._ids)

    def embeddings(self, rows: Tensor) -> Tensor:
        """float32 [*rows, hidden]."""
        return torch.einsum("...n,...nh->...h", self._weights[rows], self._matrix[self._ids[rows]].float())

    def cosines(self, direction: Tensor) -> Tensor:
        """float32 [neurons] of all embeddings with a unit direction [hidden]."""
        return torch.cat([block[0] for _, block in self._cosine_blocks(direction[None])])

    def _cosine_blocks(self, directions: Tensor) -> Iterator[tuple[int, Tensor]]:
        """First neuron and float32 [directions, neurons], block by block."""
        products = torch.empty(len(self._matrix), len(directions), device=self.device)
        step = _together(self._matrix.shape[1])
        for first in range(0, len(products), step):
            products[first : first + step] = self._matrix[first : first + step].float() @ directions.T
        step = _together(len(directions))
        for first in range(0, len(self), step):
            rows = slice(first, first + step)
            sums = torch.nn.functional.embedding_bag(
                self._ids[rows], products, per_sample_weights=self._weights[rows], mode="sum"
            )
            yield first, (sums / self._norms[rows, None].clamp(min=_TINY)).T.contiguous()

    def neighbours(self, seeds: Tensor, k: int) -> Tensor:
        """int64 [seeds, k]: each seed, then the k - 1 other neurons of largest cosine with it, equal ones by index."""
        best = torch.zeros(len(seeds), 0, device=self.device)
        index = torch.zeros(len(seeds), 0, dtype=torch.int64, device=self.device)
        for first, cosines in self._cosine_blocks(_unit(self.embeddings(seeds))):
            own = ((seeds >= first) & (seeds < first + cosines.shape[1])).nonzero()[:, 0]
            cosines[own, seeds[own] - first] = torch.inf
            places = torch.arange(first, first + cosines.shape[1], device=self.device).expand_as(cosines)
            values, found = _largest(cosines, places, k)
            best, index = _largest(torch.cat([best, values], 1), torch.cat([index, found], 1), k)
        return index

    def centroid_cosines(self, members: Tensor, direction: Tensor) -> Tensor:
        """float32 [clusters] of the mean embedding of each cluster's `members` [clusters, k] with a unit direction."""
        step = _together(members.shape[1] * (self._ids.shape[1] + 1) * self._matrix.shape[1])
        return torch.cat([_unit(self.embeddings(rows).mean(1)) @ direction for rows in members.split(step)])


def _together(numbers: int) -> int:
    """How many items of so many float32 numbers fit into one temporary."""
    return max(_BYTES // (4 * numbers), 1)


def _largest(values: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest `values` of each row (all of fewer) with their `index`, descending, equal ones by lower index."""
    k = min(k, values.shape[1])
    least = values.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    row, column = (values >= least).nonzero(as_tuple=True)
    values, index = values[row, column], index[row, column]
    # Sorted by three keys, the least important first: each sort is stable.
    order = index.argsort(stable=True)
    order = order[values[order].argsort(descending=True, stable=True)]
    order = order[row[order].argsort(stable=True)]
    starts = torch.searchsorted(row[order], torch.arange(len(least), device=row.device))
    chosen = order[starts[:, None] + torch.arange(k, device=row.device)]
    return values[chosen], index[chosen]
