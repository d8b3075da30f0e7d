"""From generated ids to actions: de-tokenisation and un-normalisation.

Source: Kim et al. 2024, "OpenVLA", section 3.2: every action dimension is one of 256 bins between the 1st and the 99th
percentile of the training data, and the bins take the last 256 ids of the Llama vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.checkpoints import read_json
from vlasteer.errors import CheckpointError, ConfigError, UnknownNameError
from vlasteer.policies.openvla.config import OpenVLAConfig

_STATISTICS = "dataset_statistics.json"


@dataclass(frozen=True)
class ActionBins:
    """Action tokens and the values that they stand for.

    Args:
        vocabulary: ids below the padding; the last `bins` of them are action tokens, the highest id the lowest value.
        bins: edges of the bins: n edges have n - 1 centres, so the two lowest ids share one.
    """

    vocabulary: int
    bins: int

    @classmethod
    def of(cls, config: OpenVLAConfig) -> ActionBins:
        """The bins of a checkpoint."""
        return cls(config.vocabulary, config.n_action_bins)

    def decode(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Normalised values in [-1, 1]; other ids are clipped to the nearest end, as the original does."""
        edges = np.linspace(-1, 1, self.bins)
        centres = (edges[:-1] + edges[1:]) / 2
        return centres[np.clip(self.vocabulary - np.asarray(ids) - 1, 0, len(centres) - 1)]

    def foreign(self, ids: NDArray[np.int64]) -> int:
        """How many of the ids are no action token."""
        return int(np.count_nonzero((ids < self.vocabulary - self.bins) | (ids >= self.vocabulary)))

    def label(self, token: int) -> str:
        """An action token for people, e.g. `<a +0.25>`."""
        return f"<a {self.decode(np.array([token]))[0]:+.3f}>"


@dataclass(frozen=True)
class ActionStatistics:
    """Range of the actions of one training data set.

    Attributes:
        low, high: float64 [size], 1st and 99th percentile.
        mask: bool [size], which dimensions were normalised.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mask: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Length of an action."""
        return len(self.low)

    def unnormalise(self, normalized: NDArray[np.float64]) -> NDArray[np.float64]:
        """[-1, 1] to the data set's units, where the mask is true; other dimensions stay."""
        return np.where(self.mask, 0.5 * (normalized + 1) * (self.high - self.low) + self.low, normalized)


def read_statistics(folder: Path, config: OpenVLAConfig) -> dict[str, ActionStatistics]:
    """Statistics by data set; a local dataset_statistics.json (fine-tuning) replaces those of config.json.

    Raises:
        CheckpointError: there are none, or they are incomplete or not finite.
    """
    if (folder / _STATISTICS).exists():
        documents, where = read_json(folder, _STATISTICS), str(folder / _STATISTICS)
    else:
        documents, where = config.norm_stats, str(folder / "config.json")
    if not documents:
        raise CheckpointError(
            f"{where} has no action statistics", expected="norm_stats in config.json, or dataset_statistics.json"
        )
    return {name: _parse(document, f"{where}:{name}") for name, document in documents.items()}


def _parse(document: Any, where: str) -> ActionStatistics:
    try:
        action: Mapping[str, Any] = document["action"]
        low, high = (np.asarray(action[key], np.float64) for key in ("q01", "q99"))
        mask = np.asarray(action.get("mask", [True] * low.size))
        if low.ndim != 1 or not low.size or not low.shape == high.shape == mask.shape or mask.dtype != bool:
            raise ValueError(f"shapes {low.shape}, {high.shape}, {mask.shape} {mask.dtype}")
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(high >= low)):
            raise ValueError("q01 and q99 have to be finite and in order")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{where}: unusable action statistics ({type(error).__name__}: {error})",
            expected="q01, q99 and mask of one length under 'action'",
        ) from error
    return ActionStatistics(low, high, mask)


def choose_key(statistics: Mapping[str, ActionStatistics], asked: str | None) -> str | None:
    """The data set whose statistics are used: the one asked for, `<asked>_no_noops`, the only one, or None: open.

    Raises:
        UnknownNameError: there is no such data set.
    """
    if asked is None:
        return next(iter(statistics)) if len(statistics) == 1 else None
    for name in (asked, f"{asked}_no_noops"):
        if name in statistics:
            return name
    raise UnknownNameError.among("unnorm key", asked, statistics)


def key_not_chosen(statistics: Mapping[str, ActionStatistics]) -> ConfigError:
    """The error for an action that is asked for before a data set was chosen."""
    return ConfigError(
        f"the checkpoint was trained on {len(statistics)} data sets and none was chosen to un-normalise actions",
        expected=f"one of: {', '.join(statistics)}",
        fix="Add --unnorm-key NAME",
    )
