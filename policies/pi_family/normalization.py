"""Statistics of the training data, and values to and from the scale that the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import CheckpointError

Floats = NDArray[np.floating]


class Normalization(StrEnum):
    """How values are brought to the scale of training (lerobot's names)."""

    IDENTITY = "IDENTITY"
    """Not at all."""
    MEAN_STD = "MEAN_STD"
    """(x - mean) / (std + eps)."""
    MIN_MAX = "MIN_MAX"
    """Smallest to -1, largest to 1."""
    QUANTILES = "QUANTILES"
    """1st percentile to -1, 99th to 1."""
    QUANTILE10 = "QUANTILE10"
    """10th percentile to -1, 90th to 1."""


_STATISTICS = {
    Normalization.MEAN_STD: ("mean", "std"),
    Normalization.MIN_MAX: ("min", "max"),
    Normalization.QUANTILES: ("q01", "q99"),
    Normalization.QUANTILE10: ("q10", "q90"),
}


@dataclass(frozen=True)
class Normalizer:
    """One feature's way to the scale of training and back.

    Attributes:
        kind: which.
        first, second: float32 [n] mean and standard deviation, or the values that become -1 and 1; empty for IDENTITY.
        eps: what keeps divisions finite.
    """

    kind: Normalization
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    eps: float

    @classmethod
    def of(
        cls, kind: Normalization, statistics: Mapping[str, Floats], *, size: int, eps: float, feature: str, where: str
    ) -> Normalizer:
        """From the statistics of a feature.

        Args:
            kind: which.
            statistics: name ("mean", "q99", ...) -> float [at least size].
            size: length of the feature; statistics of padded features are cut.
            eps: see the class.
            feature, where: its name and the file, for messages.

        Raises:
            CheckpointError: a statistic is missing, too short, not finite, or a negative deviation.
        """
        if kind is Normalization.IDENTITY:
            return cls(kind, np.zeros(0, np.float32), np.zeros(0, np.float32), eps)
        found = []
        for name in _STATISTICS[kind]:
            if name not in statistics:
                raise CheckpointError(
                    f"{where} has no statistic '{name}' of feature '{feature}'",
                    expected=f"{' and '.join(_STATISTICS[kind])} of {size} numbers, for {kind.value}",
                    fix="Use a checkpoint that was fine-tuned on a data set; base models have no statistics",
                )
            values = np.asarray(statistics[name], np.float32).reshape(-1)[:size]
            if len(values) < size or not np.all(np.isfinite(values)) or (name == "std" and np.any(values < 0)):
                raise CheckpointError(
                    f"{where}: statistic '{name}' of feature '{feature}' is {values.tolist()}",
                    expected=f"{size} finite numbers",
                )
            found.append(values)
        first, second = found
        return cls(kind, first, second, eps)

    def normalize(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [..., n] in units of the data -> float32 [..., n] as in training, in float32 throughout."""
        values = values.astype(np.float32)
        if self.kind is Normalization.IDENTITY:
            return values
        if self.kind is Normalization.MEAN_STD:
            return ((values - self.first) / (self.second + np.float32(self.eps))).astype(np.float32)
        scaled = 2 * (values - self.first) / self._span().astype(np.float32) - 1
        return scaled.astype(np.float32)

    def unnormalize(self, values: Floats) -> NDArray[np.float64]:
        """[..., n] as in training -> float64 [..., n] in units of the data."""
        values = values.astype(np.float64)
        if self.kind is Normalization.IDENTITY:
            return values
        if self.kind is Normalization.MEAN_STD:
            return values * (self.second.astype(np.float64) + self.eps) + self.first
        return (values + 1) / 2 * self._span() + self.first

    def _span(self) -> NDArray[np.float64]:
        span = (self.second - self.first).astype(np.float64)
        return np.where(span == 0, self.eps, span)
