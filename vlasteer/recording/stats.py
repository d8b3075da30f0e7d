"""Statistics as LeRobot keeps them: per episode, and merged over the dataset.

Each is a mapping from "min", "max", "mean", "std", "count" and the quantiles "q01" to "q99" to arrays of the column's
own shape; of images, per channel in [0, 1] with shape [3, 1, 1]. Quantiles are merged as a mean weighted by count,
which is LeRobot's approximation; everything else is exact. Standard deviations are those of the population.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Stats = Mapping[str, NDArray]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
KEYS = ("min", "max", "mean", "std", "count", *QUANTILES)


def vector_stats(values: NDArray) -> Stats | None:
    """Statistics of a column [steps, n]; None when a value is NaN or infinite, since none would then be meaningful."""
    if not np.isfinite(values).all():
        return None
    exact = values.astype(np.float64)
    quantiles = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": exact.mean(axis=0),
        "std": exact.std(axis=0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def image_stats(frames: Iterable[NDArray[np.uint8]]) -> Stats:
    """Per-channel statistics of frames uint8 [height, width, 3], at least one; `count` is the number of frames."""
    histogram, count = np.zeros((3, 256), np.int64), 0
    for frame in frames:
        count += 1
        for channel in range(3):
            histogram[channel] += np.bincount(frame[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    weights = histogram / histogram.sum(axis=1, keepdims=True)
    cumulative = weights.cumsum(axis=1)
    mean = weights @ levels
    present = histogram > 0
    stats = {
        "min": levels[present.argmax(axis=1)],
        "max": levels[255 - present[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(weights @ levels**2 - mean**2, 0)),
        **{key: levels[(cumulative >= q).argmax(axis=1)] for key, q in QUANTILES.items()},
    }
    return {key: value.reshape(3, 1, 1) for key, value in stats.items()} | {"count": np.array([count])}


def merge_stats(one: Stats | None, other: Stats) -> Stats:
    """Statistics of both together."""
    if one is None:
        return other
    n, m = float(one["count"][0]), float(other["count"][0])
    share = n / (n + m)

    def blend(a: NDArray, b: NDArray) -> NDArray:
        return share * a + (1 - share) * b

    mean = blend(one["mean"], other["mean"])
    variance = blend(one["std"] ** 2 + (one["mean"] - mean) ** 2, other["std"] ** 2 + (other["mean"] - mean) ** 2)
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": one["count"] + other["count"],
        **{key: blend(one[key], other[key]) for key in QUANTILES},
    }
