"""Projection of value vectors on the token basis: what every FFN neuron writes, read as words.

The score of token j for a neuron with value vector w is `w . E_j` (Geva et al. 2022; Häon et al. 2025 use it raw, with
k = 10). Options: `fold_norm` multiplies w by the final norm's gain, which is what the output head sees of it; `centre`
subtracts each neuron's mean over the vocabulary, so that scores of different neurons compare; `drop` leaves tokens out.
Gemma's factor sqrt(hidden) belongs to input embeddings and is never applied here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, Neuron, Site, SiteKey, TokenBasis
from vlasteer.errors import CheckpointError, ConfigError, UnknownNameError
from vlasteer.topk import ExactTopK

VOCABULARY_STREAM = "vlm"
"""The stream whose residual basis the vocabulary shares."""

Drop = Literal["nothing", "undefined", "rare"]
_RARE_BLOCK = 512


@dataclass(frozen=True)
class ProjectionOptions:
    """Which variant of the projection; ranks differ between them, so every artefact states them.

    Attributes:
        top_k: tokens kept per neuron.
        fold_norm: multiply value vectors by the gain of the final norm.
        centre: subtract each neuron's mean score over the tokens that count. Leaves a neuron's ranks as they are.
        drop: tokens that never count: "nothing"; "undefined", those without a meaning (vocabulary padding); or "rare",
            those and the hardly trained ones (see `dropped_tokens`).
    """

    top_k: int = 30
    fold_norm: bool = False
    centre: bool = False
    drop: Drop = "nothing"

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"top_k {self.top_k}", expected="at least 1")
        if self.drop not in get_args(Drop):
            raise UnknownNameError.among("tokens to drop", self.drop, get_args(Drop))

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        return {"top_k": self.top_k, "fold_norm": self.fold_norm, "centre": self.centre, "drop": self.drop}


@dataclass(frozen=True, eq=False)
class Projection:
    """The top tokens of every neuron of some sites.

    Attributes:
        ids: site -> int32 [width, top_k] token ids, best first.
        scores: site -> float32 [width, top_k], descending; equal ones by ascending id.
        options: how they were made.
        vocabulary: number of rows of the token basis.
        checkpoint_hash: of the checkpoint they were made from.
        weights: dtype of the value vectors, e.g. "bfloat16".
    """

    ids: Mapping[SiteKey, NDArray[np.int32]]
    scores: Mapping[SiteKey, NDArray[np.float32]]
    options: ProjectionOptions = field(default_factory=ProjectionOptions)
    vocabulary: int = 0
    checkpoint_hash: str = ""
    weights: str = ""

    @property
    def keys(self) -> tuple[SiteKey, ...]:
        """The sites, by stream and layer."""
        return tuple(sorted(self.ids))

    def __len__(self) -> int:
        return sum(len(ids) for ids in self.ids.values())

    def top(self, neuron: Neuron, n: int | None = None) -> list[tuple[int, float]]:
        """The best `n` (default all kept) tokens of a neuron with their scores."""
        key = SiteKey(neuron.stream, neuron.layer)
        if key not in self.ids:
            raise UnknownNameError.among("projected site", key, self.keys)
        n = self._check(n)
        pairs = zip(self.ids[key][neuron.index, :n], self.scores[key][neuron.index, :n], strict=True)
        return [(int(token), float(score)) for token, score in pairs]

    def count(self, key: SiteKey, tokens: Collection[int], n: int | None = None) -> NDArray[np.int64]:
        """int64 [width]: how many of each neuron's best `n` tokens are among `tokens`."""
        return self._among(tokens)[self.ids[key][:, : self._check(n)]].sum(1)

    def share(self, key: SiteKey, tokens: Collection[int], n: int | None = None) -> NDArray[np.float64]:
        """float64 [width] from 0 to 1: the same as a share of the `n`."""
        return self.count(key, tokens, n) / self._check(n)

    def listing(self, tokens: Collection[int], n: int | None = None) -> list[Neuron]:
        """Every neuron with any of `tokens` among its best `n`, by layer and index."""
        return [
            Neuron(key.stream, key.layer, int(index))
            for key in self.keys
            for index in np.flatnonzero(self.count(key, tokens, n))
        ]

    def restricted(self, keys: Collection[SiteKey]) -> Projection:
        """The same for some of the sites only; nothing is copied."""
        ids = {key: self.ids[key] for key in self.keys if key in keys}
        scores = {key: self.scores[key] for key in ids}
        return Projection(ids, scores, self.options, self.vocabulary, self.checkpoint_hash, self.weights)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [sites + 1]: rows of all sites stacked in the order of `keys` begin and end here."""
        return np.cumsum([0, *(len(self.ids[key]) for key in self.keys)])

    def neuron(self, row: int) -> Neuron:
        """The neuron of a row of all sites stacked in the order of `keys`."""
        place = int(np.searchsorted(self.offsets, row, side="right")) - 1
        key = self.keys[place]
        return Neuron(key.stream, key.layer, int(row - self.offsets[place]))

    def stacked_ids(self, n: int | None = None) -> NDArray[np.int32]:
        """int32 [neurons, n], all sites in the order of `keys`."""
        return np.concatenate([self.ids[key][:, : self._check(n)] for key in self.keys])

    def stacked_scores(self, n: int | None = None) -> NDArray[np.float32]:
        """float32 [neurons, n], all sites in the order of `keys`."""
        return np.concatenate([self.scores[key][:, : self._check(n)] for key in self.keys])

    def _among(self, tokens: Collection[int]) -> NDArray[np.bool_]:
        mask = np.zeros(self.vocabulary, bool)
        mask[list(tokens)] = True
        return mask

    def _check(self, n: int | None) -> int:
        if n is None:
            return self.options.top_k
        if not 1 <= n <= self.options.top_k:
            raise ConfigError(
                f"the top {n} tokens of a projection",
                expected=f"1 to {self.options.top_k}, as many as it keeps",
                fix="Project with a larger top_k",
            )
        return n


def dropped_tokens(basis: TokenBasis, drop: Drop) -> tuple[int, ...]:
    """Ids that the option `drop` leaves out, ascending. Action tokens always count.

    "rare" adds to the undefined ones every token whose output embedding lies closer to the vocabulary's mean embedding
    than half the median distance: training moves a token's embedding away from there (after Land and Bartolo 2024, who
    find under-trained tokens by such distances).
    """
    if drop == "nothing":
        return ()
    dropped = set(basis.undefined_ids)
    if drop == "rare":
        matrix = basis.matrix.detach()
        kept = torch.ones(basis.size, dtype=torch.bool)
        kept[list(dropped)] = False
        total = torch.zeros(matrix.shape[1], dtype=torch.float64)
        for first in range(0, basis.size, _RARE_BLOCK):
            block = matrix[first : first + _RARE_BLOCK].double().cpu()
            total += block[kept[first : first + _RARE_BLOCK]].sum(0)
        mean = total / kept.sum()
        distances = torch.cat(
            [
                torch.linalg.vector_norm(matrix[first : first + _RARE_BLOCK].double().cpu() - mean, dim=1)
                for first in range(0, basis.size, _RARE_BLOCK)
            ]
        )
        close = distances < distances[kept].median() / 2
        dropped |= set((close & kept).nonzero()[:, 0].tolist())
    return tuple(sorted(dropped - set(basis.action_ids)))


def vocabulary_sites(anatomy: Anatomy, sites: Sequence[Site] | None = None) -> tuple[Site, ...]:
    """The given sites (default: all that share the vocabulary's basis), refused when they have no vocabulary.

    Raises:
        ConfigError: a site of a stream without vocabulary, such as an action expert.
        CheckpointError: value vectors and token basis differ in length.
    """
    chosen = anatomy.stream_sites(VOCABULARY_STREAM) if sites is None else tuple(sites)
    hidden = anatomy.token_basis.matrix.shape[1]
    for site in chosen:
        if site.key.stream != VOCABULARY_STREAM:
            raise ConfigError(
                f"stream '{site.key.stream}' has no vocabulary to project its value vectors on",
                expected=f"sites of stream '{VOCABULARY_STREAM}'",
            )
        if site.hidden != hidden:
            raise CheckpointError(
                f"value vectors of site {site.key} have length {site.hidden}",
                expected=f"{hidden}, the length of an output embedding",
            )
    return chosen


def project(
    anatomy: Anatomy,
    options: ProjectionOptions | None = None,
    *,
    checkpoint_hash: str = "",
    sites: Sequence[Site] | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Projection:
    """Project value vectors on the token basis, exactly and in bounded memory (see `vlasteer.topk`).

    Args:
        anatomy: of the policy.
        options: which variant; default the paper's raw product with 30 tokens.
        checkpoint_hash: kept in the result.
        sites: which FFNs; default all of the stream that has the vocabulary.
        device: where to compute; default where the weights lie. Does not change the result.
        progress: called with neurons done and neurons in all.

    Raises:
        ConfigError: a site without vocabulary, or more tokens asked for than there are.
        CheckpointError: NaN or infinity in the weights.
    """
    options = options or ProjectionOptions()
    chosen = vocabulary_sites(anatomy, sites)
    basis = anatomy.token_basis
    ranking = ExactTopK(
        basis.matrix,
        k=options.top_k,
        gain=basis.norm_gain if options.fold_norm else None,
        dropped=dropped_tokens(basis, options.drop),
        centre=options.centre,
        device=device,
    )
    total, finished = sum(site.width for site in chosen), 0

    def advance(neurons: int) -> None:
        nonlocal finished
        finished += neurons
        if progress is not None:
            progress(finished, total)

    ids, scores = {}, {}
    for site in chosen:
        vectors = anatomy.value_vectors(site)
        top, values = ranking(vectors, f"the value vectors of site {site.key}", advance)
        ids[site.key], scores[site.key] = top.numpy(), values.numpy()
    weights = str(anatomy.value_vectors(chosen[0]).dtype).removeprefix("torch.") if chosen else ""
    return Projection(ids, scores, options, basis.size, checkpoint_hash, weights)
