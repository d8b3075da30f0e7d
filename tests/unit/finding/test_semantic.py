"""Clusters against the definition, computed with every embedding in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_vocabulary import word_anatomy

from vlasteer.anatomy import Anatomy
from vlasteer.finding import semantic
from vlasteer.finding.options import FindOptions
from vlasteer.finding.pool import Pool, make_pool
from vlasteer.finding.semantic import concept_direction, nearest_cluster
from vlasteer.projection import project


class Definition:
    """Clusters of all neurons, in float64, with every embedding in memory."""

    def __init__(self, anatomy: Anatomy, pool: Pool, n: int) -> None:
        ids = torch.from_numpy(pool.projection.stacked_ids(n)[pool.rows]).long()
        weights = torch.from_numpy(pool.projection.stacked_scores(n)[pool.rows]).double().softmax(1)
        self.embeddings = (weights[:, :, None] * anatomy.token_basis.matrix.double()[ids]).sum(1)
        units = self.embeddings / self.embeddings.norm(dim=1, keepdim=True)
        self.cosines = units @ units.T

    def best(self, direction: Tensor, k: int) -> float:
        """Largest cosine of a centroid."""
        centroids = self.embeddings[self.cosines.topk(k, dim=1).indices].mean(1)
        return float((centroids @ direction.double() / centroids.norm(dim=1)).max())

    def are_nearest(self, members: list[int], seed: int) -> bool:
        """Whether no other neuron is nearer to `seed` than any of `members`."""
        others = [i for i in range(len(self.cosines)) if i not in members]
        return float(self.cosines[seed, members].min()) >= float(self.cosines[seed, others].max()) - 1e-6


def make(seed: int, layers: int = 3) -> tuple[Anatomy, Pool]:
    anatomy = word_anatomy({}, hidden=24, layers=layers, seed=seed)
    return anatomy, make_pool(anatomy, project(anatomy), FindOptions(method="semantic"), (), ())


@given(seed=st.integers(0, 10_000), k=st.sampled_from((1, 2, 10, 20)), n=st.sampled_from((1, 5, 30)))
@settings(max_examples=25, deadline=None)
def test_equals_the_definition(seed: int, k: int, n: int) -> None:
    anatomy, pool = make(seed)
    direction = concept_direction(anatomy.token_basis, seed % anatomy.token_basis.size)
    cluster = nearest_cluster(pool, anatomy.token_basis, direction, k=k, top_n=n, seeds=None)
    expected = Definition(anatomy, pool, n)
    assert cluster.centroid_cosine == pytest.approx(expected.best(direction, k), abs=1e-5)
    assert expected.are_nearest(list(cluster.rows), cluster.seed)
    assert len(set(cluster.rows)) == k
    assert cluster.exhaustive
    assert cluster.seed in cluster.rows


def test_small_blocks_give_the_same_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    anatomy, pool = make(3)
    direction = concept_direction(anatomy.token_basis, 0)
    whole = nearest_cluster(pool, anatomy.token_basis, direction, k=10, top_n=5, seeds=None)
    monkeypatch.setattr(semantic, "_BYTES", 5000)
    assert nearest_cluster(pool, anatomy.token_basis, direction, k=10, top_n=5, seeds=None).rows == whole.rows


def test_few_seeds_are_doubled_until_the_best_is_well_inside() -> None:
    anatomy, pool = make(4, layers=8)
    direction = concept_direction(anatomy.token_basis, 9)
    whole = nearest_cluster(pool, anatomy.token_basis, direction, k=10, top_n=5, seeds=None)
    calls: list[tuple[int, int]] = []
    few = nearest_cluster(
        pool, anatomy.token_basis, direction, k=10, top_n=5, seeds=2, progress=lambda d, of: calls.append((d, of))
    )
    assert few.exhaustive or few.seed_place < few.seeds_tried / 4
    assert few.seeds_tried > 2
    assert calls[-1] == (few.seeds_tried, few.seeds_tried)
    if whole.seed_place < few.seeds_tried:
        assert few.rows == whole.rows
    assert few.centroid_cosine <= whole.centroid_cosine


def test_a_difference_ranks_by_the_difference_of_cosines() -> None:
    basis = make(5)[0].token_basis
    both = concept_direction(basis, 0, 33)
    one, other = concept_direction(basis, 0), concept_direction(basis, 33)
    vectors = torch.randn(50, 24)
    torch.testing.assert_close(both.norm(), torch.tensor(1.0))
    np.testing.assert_array_equal((vectors @ both).argsort(), (vectors @ one - vectors @ other).argsort())


def test_a_depth_is_clustered_by_itself() -> None:
    anatomy, _ = make(6, layers=4)
    projection = project(anatomy)
    direction = concept_direction(anatomy.token_basis, 0)
    for depth, layers in (("early", {0, 1}), ("late", {2, 3})):
        pool = make_pool(anatomy, projection, FindOptions(method="semantic", depth=depth), (), ())
        cluster = nearest_cluster(pool, anatomy.token_basis, direction, k=20, top_n=5, seeds=None)
        assert {pool.projection.neuron(row).layer for row in cluster.rows} <= layers
        expected = Definition(anatomy, pool, 5).best(direction, 20)
        assert cluster.centroid_cosine == pytest.approx(expected, abs=1e-5)
