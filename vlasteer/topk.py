"""Exact top-k of inner products of many vectors with many tokens, without ever forming the table of products.

Candidates are found with fast, rounded products, a block of vectors and a panel of tokens at a time. Every candidate
that could belong to the top k is then scored again in float64, and a bound on the rounding error of the first pass
proves that no other token could. Where the proof fails (ties, nearly equal scores) all tokens are scored in float64.
So the result depends neither on the storage dtype, nor on block sizes, nor on the device: it is ordered by the exact
product rounded to float32, ties by lower token id.

The bound: with operands v', e' rounded to the first pass's dtype, an inner product of length n accumulated in float32
differs from the exact one of v and e by at most

    2 n 2^-24 |v'||e'|  +  |v - v'||e|  +  |v'||e - e'|  +  u |score|

(Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1, for any order of summation; the factor 2 is
for hardware that truncates; u is the unit roundoff of the dtype in which the score comes back).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vlasteer.errors import CheckpointError, ConfigError

MIB = 1 << 20
TEMPORARY_BYTES = 64 * MIB
"""Bound on all temporary tensors together, whatever the vocabulary."""

_GROUP = 16
"""Tokens whose maximum stands for them until it is known which groups matter."""
_MOST_ROWS = 512
"""More vectors in a product make it no faster, but leave room for fewer tokens."""
_ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
_TWO_ULP = 2.0**-22
"""Relative distance at which two numbers cannot round to the same float32."""


@dataclass(frozen=True)
class Blocks:
    """How the work is cut.

    Attributes:
        span: vectors whose candidates are kept at once.
        rows: vectors of one product.
        columns: tokens of one product; a multiple of the group size.
        picked: groups of scores, over all rows, that are looked into at once.
        exact: tokens, or vectors, of one float64 block.
    """

    span: int
    rows: int
    columns: int
    picked: int
    exact: int

    @classmethod
    def within(cls, budget: int, *, hidden: int, candidates: int, itemsize: int, panel_bytes: int) -> Blocks:
        """The largest blocks whose temporaries stay below `budget` bytes together.

        Args:
            budget: bytes.
            hidden: length of a vector.
            candidates: tokens kept per vector.
            itemsize: bytes per number of the first pass.
            panel_bytes: bytes per number of the copies that are made of a panel of tokens; 0 when it is a view.
        """
        part = budget // 8
        span = part // (candidates * (itemsize + 4))
        rows = max(min(2 * part // (hidden * (8 + itemsize)), span, _MOST_ROWS), 1)
        columns = part // (rows * itemsize)
        if panel_bytes:
            columns = min(columns, 2 * part // (hidden * panel_bytes))
        columns = max(columns // _GROUP, 1) * _GROUP
        # Of every score that is picked from its group: its place, itself, and both again in the pool it competes in.
        picked = max(part // (_GROUP * (8 + 3 * itemsize)), 1)
        return cls(max(span, 1), rows, columns, picked, max(part // (hidden * 16), 1))


def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype of the first pass: bfloat16 where the hardware multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    # `get_capabilities` is public but younger than the oldest torch that is supported.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if native else torch.float32


@contextmanager
def _faithful_products() -> Iterator[None]:
    """Products accumulate in float32, whatever shortcuts the process allows elsewhere: the error bound needs it."""
    matmul = torch.backends.cuda.matmul
    precision, reduced = torch.get_float32_matmul_precision(), matmul.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        matmul.allow_bf16_reduced_precision_reduction = reduced


class ExactTopK:
    """Finds, for vectors v, the k tokens j with the largest v . (gain * E_j).

    Args:
        matrix: [tokens, hidden] E, any float dtype.
        k: how many.
        gain: [hidden] factor of a vector's components (a folded norm), or None.
        dropped: ids of tokens that never count.
        centre: subtract from every score the vector's mean score over the tokens that count.
        device: where to compute; default is where the matrix lies.
        compute_dtype: of the first pass, float32 or bfloat16; default `fast_dtype`. Does not change the result.
        budget: bytes for all temporaries.

    Attributes:
        rescanned: vectors for which every token had to be scored in float64.

    Raises:
        CheckpointError: NaN or infinity in the matrix or the gain.
        ConfigError: fewer than k tokens count.
    """

    def __init__(
        self,
        matrix: Tensor,
        *,
        k: int,
        gain: Tensor | None = None,
        dropped: Sequence[int] = (),
        centre: bool = False,
        device: str | torch.device | None = None,
        compute_dtype: torch.dtype | None = None,
        budget: int = TEMPORARY_BYTES,
    ) -> None:
        self.k = k
        self.rescanned = 0
        self._matrix = matrix.detach()
        self._device = matrix.device if device is None else torch.device(device)
        self._dtype = fast_dtype(self._device) if compute_dtype is None else compute_dtype
        self._size, self._hidden = matrix.shape
        self._dropped = torch.tensor(sorted(set(dropped)), dtype=torch.int64)
        self._counting = self._size - len(self._dropped)
        if not 1 <= k <= self._counting:
            raise ConfigError(f"top-k of {k}", expected=f"1 to {self._counting}, the number of tokens that count")
        self._candidates = min(2 * k + 32, self._counting)
        self.blocks = Blocks.within(
            budget,
            hidden=self._hidden,
            candidates=self._candidates,
            itemsize=self._dtype.itemsize,
            panel_bytes=matrix.dtype.itemsize * (matrix.device != self._device)
            + self._dtype.itemsize * (matrix.dtype != self._dtype),
        )
        self._gain = None if gain is None else gain.detach().to(self._device, torch.float32)
        if self._gain is not None and not bool(self._gain.isfinite().all()):
            raise CheckpointError("the gain of the final norm contains NaN or infinity", expected="finite weights")
        self._longest, self._residual, mean = self._measure_tokens()
        self._mean = mean if centre else None

    def __call__(
        self, vectors: Tensor, name: str = "the matrix of vectors", done: Callable[[int], None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The top k tokens of every vector.

        Args:
            vectors: [n, hidden], any float dtype; a transposed view is fine.
            name: what they are, for errors.
            done: called with the number of vectors finished, once per span of them.

        Returns:
            int32 [n, k] ids and float32 [n, k] scores on the CPU, scores descending, equal ones by ascending id.

        Raises:
            CheckpointError: NaN or infinity in a vector.
        """
        ids = torch.empty(len(vectors), self.k, dtype=torch.int32)
        scores = torch.empty(len(vectors), self.k, dtype=torch.float32)
        with _faithful_products():
            for first in range(0, len(vectors), self.blocks.span):
                span = slice(first, min(first + self.blocks.span, len(vectors)))
                errors = self._error_bounds(vectors[span], first, name)
                values, found = self._find_candidates(vectors[span])
                unproven = self._settle(vectors[span], values, found, errors, ids[span], scores[span])
                if unproven:
                    self.rescanned += len(unproven)
                    self._scan(vectors[span], unproven, ids[span], scores[span])
                if done is not None:
                    done(span.stop - span.start)
        return ids, scores

    # -- the first pass ------------------------------------------------------------------------------------------------
    def _panels(self, columns: int) -> Iterator[tuple[int, Tensor]]:
        """First token and [columns, hidden] embeddings, storage dtype, on the computing device."""
        for first in range(0, self._size, columns):
            yield first, self._matrix[first : first + columns].to(self._device)

    def _dropped_in(self, first: int, columns: int) -> Tensor:
        """Dropped tokens of a panel as positions in it."""
        low, high = torch.searchsorted(self._dropped, torch.tensor([first, first + columns])).tolist()
        return (self._dropped[low:high] - first).to(self._device)

    def _measure_tokens(self) -> tuple[float, float, Tensor]:
        """Over the tokens that count: largest norm, largest norm of what rounding loses, mean (float64 [hidden])."""
        longest, residual = 0.0, 0.0
        total = torch.zeros(self._hidden, dtype=torch.float64, device=self._device)
        for first, panel in self._panels(self.blocks.exact):
            exact = panel.double().index_fill_(0, self._dropped_in(first, len(panel)), 0.0)
            norms = torch.linalg.vector_norm(exact, dim=1)
            bad = (~norms.isfinite()).nonzero()
            if len(bad):
                raise CheckpointError(
                    f"the output embedding of token {first + int(bad[0])} contains NaN or infinity",
                    expected="finite weights",
                )
            longest = max(longest, float(norms.amax()))
            total += exact.sum(0)
            residual = max(residual, float(torch.linalg.vector_norm(exact - exact.to(self._dtype), dim=1).amax()))
        return longest, residual, total / self._counting

    def _rounded(self, vectors: Tensor) -> Tensor:
        """[rows, hidden] operands of the first pass."""
        block = vectors.detach().to(self._device)
        return (block if self._gain is None else block.float() * self._gain).to(self._dtype)

    def _exact(self, vectors: Tensor) -> Tensor:
        """float64 [rows, hidden]."""
        block = vectors.detach().to(self._device).double()
        return (block if self._gain is None else block * self._gain.double()).contiguous()

    def _error_bounds(self, vectors: Tensor, offset: int, name: str) -> Tensor:
        """float64 [n] bound on the first pass's error, but for the rounding of the score itself."""
        bounds = torch.empty(len(vectors), dtype=torch.float64, device=self._device)
        accumulation = 2 * self._hidden * 2.0**-24
        for first in range(0, len(vectors), self.blocks.exact):
            block = vectors[first : first + self.blocks.exact]
            exact, rounded = self._exact(block), self._rounded(block)
            norms = torch.linalg.vector_norm(exact, dim=1)
            bad = (~norms.isfinite()).nonzero()
            if len(bad):
                raise CheckpointError(
                    f"vector {offset + first + int(bad[0])} of {name} contains NaN or infinity",
                    expected="finite weights",
                )
            rounded_norms = torch.linalg.vector_norm(rounded, dim=1, dtype=torch.float64)
            lost = torch.linalg.vector_norm(exact.sub_(rounded), dim=1)
            bounds[first : first + len(block)] = (
                accumulation * rounded_norms * (self._longest + self._residual)
                + lost * self._longest
                + rounded_norms * self._residual
            )
        # The last term covers results that underflow.
        return bounds * 1.001 + self._hidden * 2.0**-126

    def _find_candidates(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """[n, candidates] rounded scores and int32 ids, in no order; -inf marks an empty place."""
        n, kept = len(vectors), self._candidates
        values = torch.full((n, kept), -torch.inf, dtype=self._dtype, device=self._device)
        ids = torch.zeros((n, kept), dtype=torch.int32, device=self._device)
        for first, stored in self._panels(self.blocks.columns):
            panel = stored.to(self._dtype)
            del stored
            dropped = self._dropped_in(first, len(panel))
            for row in range(0, n, self.blocks.rows):
                rows = slice(row, min(row + self.blocks.rows, n))
                scores = torch.mm(self._rounded(vectors[rows]), panel.T)
                scores.index_fill_(1, dropped, -torch.inf)
                _merge(values[rows], ids[rows], scores, first, self.blocks.picked)
        return values, ids

    # -- proof and order -----------------------------------------------------------------------------------------------
    def _settle(
        self, vectors: Tensor, values: Tensor, found: Tensor, errors: Tensor, ids: Tensor, scores: Tensor
    ) -> list[int]:
        """Score candidates exactly and write the top k; returns the vectors for which the proof failed."""
        unit = _ROUNDOFF[self._dtype] * (1 + 2.0**-6)
        unproven: list[int] = []
        for first in range(0, len(vectors), self.blocks.exact):
            rows = slice(first, min(first + self.blocks.exact, len(vectors)))
            exact = self._exact(vectors[rows])
            shift = torch.zeros(1) if self._mean is None else exact @ self._mean
            approximate, order = values[rows].double().sort(dim=1, descending=True)
            slack = unit * approximate.abs() + errors[rows, None]
            least = (approximate - slack)[:, self.k - 1]
            needed = (approximate + slack >= (least - _TWO_ULP * least.abs())[:, None]).sum(1).clamp(min=self.k)
            tokens = found[rows].long().gather(1, order)[:, : int(needed.amax())]
            unneeded = torch.arange(tokens.shape[1], device=self._device) >= needed[:, None]
            tokens = tokens.masked_fill_(unneeded, self._size).sort(dim=1).values
            products = self._products(exact, tokens, needed.tolist())
            rounded, order = (products - shift.to(products)[:, None]).float().sort(dim=1, descending=True, stable=True)
            order = order[:, : self.k]
            ids[rows], scores[rows] = tokens.gather(1, order).int().cpu(), rounded[:, : self.k].cpu()
            if self._candidates == self._counting:
                continue
            kth = products.gather(1, order[:, -1:])[:, 0]
            rest = (approximate + slack)[:, -1]
            proven = rest < kth - _TWO_ULP * (kth.abs() + shift.to(kth).abs())
            unproven += [first + int(i) for i in (~proven).nonzero()]
        return unproven

    def _products(self, exact: Tensor, tokens: Tensor, needed: list[int]) -> Tensor:
        """float64 [rows, candidates] products with each row's own tokens; -inf beyond the first `needed` of a row."""
        products = torch.full(tokens.shape, -torch.inf, dtype=torch.float64, device=self._device)
        # A CPU is fastest with one vector's tokens in its cache, a GPU with as many as the budget allows.
        together = 1 if self._device.type == "cpu" else max(2 * self.blocks.exact // tokens.shape[1], 1)
        for row in range(0, len(exact), together):
            rows = slice(row, row + together)
            width = max(needed[rows])
            chosen = tokens[rows, :width].clamp(max=self._size - 1)
            picked = self._matrix[chosen.to(self._matrix.device)].to(self._device).double()
            products[rows, :width] = torch.bmm(picked, exact[rows, :, None])[..., 0]
        return products.masked_fill_(tokens == self._size, -torch.inf)

    def _scan(self, vectors: Tensor, chosen: list[int], ids: Tensor, scores: Tensor) -> None:
        """Write the top k of the chosen vectors by scoring every token in float64."""
        for block in range(0, len(chosen), self.blocks.exact):
            rows = chosen[block : block + self.blocks.exact]
            exact = self._exact(vectors[rows])
            shift = 0.0 if self._mean is None else (exact @ self._mean)[:, None]
            best = torch.full((len(rows), self.k), -torch.inf, device=self._device)
            best_ids = torch.zeros((len(rows), self.k), dtype=torch.int64, device=self._device)
            for first, stored in self._panels(self.blocks.exact):
                rounded = (exact @ stored.double().T - shift).float()
                rounded.index_fill_(1, self._dropped_in(first, len(stored)), -torch.inf)
                tokens = torch.arange(first, first + len(stored), device=self._device).expand_as(rounded)
                # Earlier tokens stand first, so that a stable sort keeps the lower of two equal ones in front.
                pool, order = torch.cat([best, rounded], 1).sort(dim=1, descending=True, stable=True)
                best = pool[:, : self.k]
                best_ids = torch.cat([best_ids, tokens], 1).gather(1, order[:, : self.k])
            ids[rows], scores[rows] = best_ids.int().cpu(), best.cpu()


def _merge(values: Tensor, ids: Tensor, scores: Tensor, first: int, picked: int) -> None:
    """Let `scores` [rows, columns] of the tokens from `first` on compete for places in `values`, `ids` [rows, kept]."""
    kept = values.shape[1]
    ragged = -scores.shape[1] % _GROUP
    if ragged:
        scores = torch.nn.functional.pad(scores, (0, ragged), value=-torch.inf)
    groups = scores.shape[1] // _GROUP
    # Group g is every groups-th column: a maximum over rows of a table, which vectorises.
    peaks = scores.view(len(scores), _GROUP, groups).amax(1)
    floor = values.amin(1, keepdim=True)
    # The best `kept` scores lie in the `kept` groups with the highest peaks, and only peaks above the floor matter.
    wanted = min(int((peaks > floor).sum(1).amax()), kept)
    if wanted == 0:
        return
    members = groups * torch.arange(_GROUP, device=scores.device)[:, None]
    step = max(picked // wanted, 1)
    for row in range(0, len(scores), step):
        rows = slice(row, row + step)
        top = peaks[rows].topk(wanted, dim=1, sorted=False).indices
        columns = (top[:, None, :] + members).flatten(1)
        pool = torch.cat([values[rows], scores[rows].gather(1, columns)], 1)
        best, places = pool.topk(kept, dim=1, sorted=False)
        fresh = columns.gather(1, (places - kept).clamp_(min=0)).add_(first).int()
        old = ids[rows].gather(1, places.clamp(max=kept - 1))
        ids[rows] = torch.where(places < kept, old, fresh)
        values[rows] = best
