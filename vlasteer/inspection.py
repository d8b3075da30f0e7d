"""What the value vectors of a policy read as, layer by layer: the statistics of the paper's figure 2.

Action-token share: how many of a neuron's top N tokens are action tokens, averaged over a layer, beside the share that
action tokens have in the vocabulary.

Interpretable share: how many of a layer's neurons have a pattern among their top 30 tokens, by the rule of
`vlasteer.patterns` (read there what it can see and what not), beside the same share of null vectors, whose every
component is drawn from that component of a random neuron of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlasteer.anatomy import Anatomy, TokenBasis
from vlasteer.errors import ConfigError, OutputError
from vlasteer.finding.lexicon import Lexicon
from vlasteer.patterns import AT_LEAST, OF, Patterns
from vlasteer.projection import Projection, dropped_tokens
from vlasteer.topk import ExactTopK

TOP_N = (10, 30, 100)


@dataclass(frozen=True, eq=False)
class ActionShares:
    """Share of action tokens among top tokens.

    Attributes:
        layers: of the rows.
        top_n: of the columns.
        shares: float64 [layers, top_n], mean over a layer's neurons, 0 to 1.
        in_vocabulary: share of action tokens among all tokens that count.
    """

    layers: tuple[int, ...]
    top_n: tuple[int, ...]
    shares: NDArray[np.float64]
    in_vocabulary: float

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Column names and rows."""
        rows = [[layer, *map(float, shares)] for layer, shares in zip(self.layers, self.shares, strict=True)]
        return ["layer", *(f"top_{n}" for n in self.top_n)], rows


@dataclass(frozen=True, eq=False)
class InterpretableShares:
    """Share of neurons with a pattern among their top tokens.

    Attributes:
        layers: of the entries.
        shares: float64 [layers], any pattern.
        by_kind: kind of pattern -> float64 [layers]; a neuron may count in several.
        null: float64 [layers], any pattern, of null vectors.
        null_by_kind: the same by kind.
        null_vectors: number of null vectors per layer.
    """

    layers: tuple[int, ...]
    shares: NDArray[np.float64]
    by_kind: Mapping[str, NDArray[np.float64]]
    null: NDArray[np.float64]
    null_by_kind: Mapping[str, NDArray[np.float64]]
    null_vectors: int

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Column names and rows."""
        columns = {"any": self.shares, "any_null": self.null}
        for kind in self.by_kind:
            columns |= {kind: self.by_kind[kind], f"{kind}_null": self.null_by_kind[kind]}
        rows = [[layer, *(float(c[i]) for c in columns.values())] for i, layer in enumerate(self.layers)]
        return ["layer", *columns], rows


def action_shares(projection: Projection, basis: TokenBasis, top_n: Sequence[int] = TOP_N) -> ActionShares:
    """Share of action tokens among the top N tokens, by layer.

    Raises:
        ConfigError: the projection keeps fewer tokens than the largest N.
    """
    shares = [[projection.share(key, basis.action_ids, n).mean() for n in top_n] for key in projection.keys]
    counting = basis.size - len(dropped_tokens(basis, projection.options.drop))
    layers = tuple(key.layer for key in projection.keys)
    return ActionShares(layers, tuple(top_n), np.array(shares), len(basis.action_ids) / counting)


def interpretable_shares(
    anatomy: Anatomy,
    projection: Projection,
    *,
    lexicon: Lexicon | None = None,
    null_vectors: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> InterpretableShares:
    """Share of neurons whose top 30 tokens hold a pattern by the rule above, by layer, beside that of null vectors.

    Args:
        anatomy: of the policy.
        projection: of it, with at least 30 tokens per neuron.
        lexicon: whose concepts count as patterns; default the built-in one.
        null_vectors: how many per layer.
        seed: of the null vectors.
        progress: called with layers done and layers in all.

    Raises:
        ConfigError: the projection keeps fewer than 30 tokens.
    """
    if projection.options.top_k < OF:
        raise ConfigError(
            f"a projection with {projection.options.top_k} tokens per neuron",
            expected=f"at least {OF} for the {AT_LEAST}-of-{OF} rule",
            fix="Project with a larger top_k",
        )
    basis = anatomy.token_basis
    patterns = Patterns(basis, Lexicon.load() if lexicon is None else lexicon)
    options = projection.options
    ranking = ExactTopK(
        basis.matrix,
        k=OF,
        gain=basis.norm_gain if options.fold_norm else None,
        dropped=dropped_tokens(basis, options.drop),
    )
    generator = torch.Generator().manual_seed(seed)
    real: list[dict[str, float]] = []
    null: list[dict[str, float]] = []
    for i, key in enumerate(projection.keys, start=1):
        real.append(patterns.shares(projection.ids[key][:, :OF]))
        vectors = anatomy.value_vectors(anatomy.site(*key))
        drawn = torch.randint(len(vectors), (null_vectors, vectors.shape[1]), generator=generator)
        ids, _ = ranking(vectors.gather(0, drawn.to(vectors.device)))
        null.append(patterns.shares(ids.numpy()))
        if progress is not None:
            progress(i, len(projection.keys))
    kinds = patterns.kinds

    def column(rows: list[dict[str, float]], kind: str) -> NDArray[np.float64]:
        return np.array([row[kind] for row in rows])

    return InterpretableShares(
        layers=tuple(key.layer for key in projection.keys),
        shares=column(real, "any"),
        by_kind={kind: column(real, kind) for kind in kinds},
        null=column(null, "any"),
        null_by_kind={kind: column(null, kind) for kind in kinds},
        null_vectors=null_vectors,
    )


def plot(actions: ActionShares, interpretable: InterpretableShares, path: Path, title: str = "") -> None:
    """Draw both statistics by layer into a PNG file.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, n in enumerate(actions.top_n):
        left.plot(actions.layers, actions.shares[:, i], marker="o", markersize=3, label=f"top {n}")
    left.axhline(actions.in_vocabulary, color="grey", linestyle=":", label="in the vocabulary")
    left.set(title="Action tokens among top tokens", ylabel="share")
    right.plot(interpretable.layers, interpretable.shares, marker="o", markersize=3, color="black", label="any pattern")
    right.plot(interpretable.layers, interpretable.null, color="grey", linestyle=":", label="any pattern, null vectors")
    for kind, shares in interpretable.by_kind.items():
        right.plot(interpretable.layers, shares, linewidth=1, alpha=0.8, label=kind)
    right.set(title=f"Neurons with a pattern in {AT_LEAST} or more of {OF} tokens", ylabel="share", ylim=(-0.02, 1.02))
    for axes in (left, right):
        axes.set_xlabel("layer")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=min(axes.get_ylim()[0], 0))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    if title:
        figure.suptitle(title)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise OutputError(f"the plot cannot be written to {path} ({error.strerror})") from error
