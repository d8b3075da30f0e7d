"""Exact top-k against a table of float64 products."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from vlasteer.errors import CheckpointError, ConfigError
from vlasteer.topk import MIB, TEMPORARY_BYTES, Blocks, ExactTopK

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def table(
    matrix: Tensor, vectors: Tensor, k: int, gain: Tensor | None, dropped: list[int], centre: bool
) -> tuple[Tensor, Tensor]:
    """The definition: all products in float64, rounded to float32, stably sorted."""
    scores = (vectors.double() if gain is None else vectors.double() * gain.double()) @ matrix.double().T
    counts = torch.ones(len(matrix), dtype=torch.bool)
    counts[dropped] = False
    if centre:
        scores = scores - scores[:, counts].mean(1, keepdim=True)
    rounded = scores.float()
    rounded[:, ~counts] = -torch.inf
    values, ids = rounded.sort(dim=1, descending=True, stable=True)
    return ids[:, :k].int(), values[:, :k]


def live_peak(work: ExactTopK, vectors: Tensor) -> int:
    """Largest number of bytes that tensors allocated by the call occupied at once, results included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work(vectors)
    live = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@given(
    seed=st.integers(0, 2**31),
    tokens=st.integers(1, 300),
    hidden=st.integers(1, 40),
    stored=st.sampled_from(DTYPES),
    computed=st.sampled_from((torch.float32, torch.bfloat16)),
    ties=st.sampled_from(("none", "tokens", "grid", "zero")),
    fold=st.booleans(),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_equals_the_table_of_all_products(
    seed: int,
    tokens: int,
    hidden: int,
    stored: torch.dtype,
    computed: torch.dtype,
    ties: str,
    fold: bool,
    data: st.DataObject,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(tokens, hidden, generator=generator)
    vectors = torch.randn(17, hidden, generator=generator)
    if ties == "tokens":  # the same embedding again and again
        matrix = matrix[torch.randint(0, max(tokens // 8, 1), (tokens,), generator=generator)]
    elif ties == "grid":  # sums of few small integers: many equal scores of unequal tokens
        matrix, vectors = matrix.round(), vectors.round()
    elif ties == "zero":
        vectors[3:9] = 0
    matrix, vectors = matrix.to(stored), vectors.to(stored)
    dropped = data.draw(st.lists(st.integers(0, tokens - 1), max_size=tokens - 1, unique=True))
    k = data.draw(st.integers(1, tokens - len(dropped)))
    gain = torch.rand(hidden, generator=generator) + 0.5 if fold else None
    work = ExactTopK(matrix, k=k, gain=gain, dropped=dropped, compute_dtype=computed, budget=1 << 15)
    ids, scores = work(vectors)
    expected_ids, expected_scores = table(matrix, vectors, k, gain, dropped, centre=False)
    assert torch.equal(ids, expected_ids)
    assert torch.equal(scores, expected_scores)


def test_centred_scores_have_no_mean_and_the_same_order() -> None:
    matrix, vectors = torch.randn(500, 24), torch.randn(30, 24)
    plain_ids, plain = ExactTopK(matrix, k=20)(vectors)
    ids, scores = ExactTopK(matrix, k=20, centre=True)(vectors)
    torch.testing.assert_close(scores, plain - (vectors @ matrix.T).mean(1, keepdim=True))
    assert torch.equal(ids, plain_ids)
    every, all_scores = ExactTopK(matrix, k=500, centre=True)(vectors)
    torch.testing.assert_close(all_scores.mean(1), torch.zeros(30), atol=1e-5, rtol=0)
    assert torch.equal(every.sort(dim=1).values[0], torch.arange(500, dtype=torch.int32))


def test_nearly_equal_scores_that_bfloat16_confuses_come_in_exact_order() -> None:
    # Along one axis the tokens' scores differ by one part in 2^16: eight bits of mantissa see them all as equal.
    steps = torch.arange(4096.0)
    matrix = torch.stack([1 + steps / 2**16, torch.zeros(4096)], 1)[torch.randperm(4096)]
    work = ExactTopK(matrix, k=10, compute_dtype=torch.bfloat16)
    ids, _ = work(torch.tensor([[1.0, 0.0]]))
    assert torch.equal(ids, table(matrix, torch.tensor([[1.0, 0.0]]), 10, None, [], False)[0])
    assert work.rescanned == 1


def test_the_proof_succeeds_on_ordinary_weights() -> None:
    matrix, vectors = torch.randn(20_000, 256).bfloat16(), torch.randn(50, 256).bfloat16()
    for computed in (torch.float32, torch.bfloat16):
        work = ExactTopK(matrix, k=30, compute_dtype=computed)
        ids, _ = work(vectors)
        assert torch.equal(ids, table(matrix, vectors, 30, None, [], False)[0])
        assert work.rescanned == 0


@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_temporaries_stay_within_the_bound_at_any_vocabulary(stored: torch.dtype, computed: torch.dtype) -> None:
    budget = 2 * MIB
    for tokens in (3_000, 60_000):
        matrix, vectors = torch.randn(tokens, 64, dtype=stored), torch.randn(64, 400, dtype=stored).T
        work = ExactTopK(matrix, k=20, gain=torch.rand(64), compute_dtype=computed, budget=budget)
        results = 400 * 20 * 8
        assert live_peak(work, vectors) - results < budget


@pytest.mark.parametrize("hidden", [96, 2048, 4096, 8192])
@pytest.mark.parametrize("top_k", [10, 30, 100])
@pytest.mark.parametrize("itemsize", [2, 4])
def test_blocks_of_real_models_fit_the_bound_and_are_not_tiny(hidden: int, top_k: int, itemsize: int) -> None:
    candidates = 2 * top_k + 32
    blocks = Blocks.within(
        TEMPORARY_BYTES, hidden=hidden, candidates=candidates, itemsize=itemsize, panel_bytes=itemsize
    )
    held = blocks.span * candidates * (itemsize + 4)
    operands = blocks.rows * hidden * (8 + itemsize) + blocks.columns * hidden * itemsize
    scores = blocks.rows * blocks.columns * itemsize
    assert held + operands + scores < TEMPORARY_BYTES
    assert blocks.rows >= 100
    assert blocks.columns >= 512


def test_progress_counts_every_vector() -> None:
    work = ExactTopK(torch.randn(50, 8), k=5, budget=1 << 12)
    steps: list[int] = []
    work(torch.randn(100, 8), done=steps.append)
    assert sum(steps) == 100
    assert len(steps) > 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    matrix, vectors = torch.randn(40, 8), torch.randn(20, 8)
    spoilt = matrix.clone()
    spoilt[17, 3] = bad
    with pytest.raises(CheckpointError, match="token 17"):
        ExactTopK(spoilt, k=5)
    assert ExactTopK(spoilt, k=5, dropped=[17])(vectors)[0].shape == (20, 5)
    spoilt = vectors.clone()
    spoilt[11, 0] = bad
    with pytest.raises(CheckpointError, match="vector 11 of site x"):
        ExactTopK(matrix, k=5)(spoilt, "site x")
    with pytest.raises(CheckpointError, match="gain"):
        ExactTopK(matrix, k=5, gain=torch.full((8,), bad))


@pytest.mark.parametrize("k", [0, 39])
def test_more_tokens_than_count_are_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="1 to 38"):
        ExactTopK(torch.randn(40, 8), k=k, dropped=[0, 1])
