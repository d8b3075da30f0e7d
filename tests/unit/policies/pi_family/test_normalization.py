"""Values to the scale of training and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vlasteer.errors import CheckpointError
from vlasteer.policies.pi_family.normalization import Normalization, Normalizer

STATISTICS = {
    "mean": np.array([1.0, -2.0, 0.0]),
    "std": np.array([2.0, 0.5, 0.0]),
    "min": np.array([-1.0, 0.0, 5.0]),
    "max": np.array([1.0, 4.0, 5.0]),
    "q01": np.array([-0.5, 0.0, 5.0]),
    "q99": np.array([0.5, 2.0, 5.0]),
    "q10": np.array([-0.1, 0.0, 5.0]),
    "q90": np.array([0.1, 1.0, 5.0]),
}


def normalizer(kind: Normalization, size: int = 3, **changes: np.ndarray) -> Normalizer:
    return Normalizer.of(kind, STATISTICS | changes, size=size, eps=1e-8, feature="action", where="file")


@pytest.mark.parametrize("kind", list(Normalization))
@given(values=npst.arrays(np.float32, (4, 2), elements=st.floats(-10, 10, width=32)))
def test_there_and_back(kind: Normalization, values: np.ndarray) -> None:
    both = normalizer(kind, size=2)
    assert both.normalize(values).dtype == np.float32
    np.testing.assert_allclose(both.unnormalize(both.normalize(values)), values, rtol=1e-5, atol=1e-4)


def test_mean_and_deviation() -> None:
    one = normalizer(Normalization.MEAN_STD, size=2)
    assert one.normalize(np.array([3.0, -2.5], np.float32)).tolist() == [1.0, -1.0]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (Normalization.MIN_MAX, "min", "max"),
        (Normalization.QUANTILES, "q01", "q99"),
        (Normalization.QUANTILE10, "q10", "q90"),
    ],
)
def test_ranges_end_at_one(kind: Normalization, low: str, high: str) -> None:
    one = normalizer(kind, size=2)
    for name, value in ((low, -1.0), (high, 1.0)):
        assert one.normalize(STATISTICS[name][:2].astype(np.float32)).tolist() == pytest.approx([value] * 2)
        assert one.unnormalize(np.full(2, value)).tolist() == pytest.approx(STATISTICS[name][:2].tolist())


@pytest.mark.parametrize("kind", list(Normalization))
def test_a_feature_that_never_changed_stays_finite(kind: Normalization) -> None:
    assert np.all(np.isfinite(normalizer(kind).normalize(np.full(3, 5, np.float32))))


def test_identity_needs_no_statistics() -> None:
    one = Normalizer.of(Normalization.IDENTITY, {}, size=3, eps=0, feature="action", where="file")
    assert one.normalize(np.ones(3, np.float32)).tolist() == [1, 1, 1]


def test_padding_is_cut() -> None:
    assert normalizer(Normalization.MEAN_STD, size=1).first.tolist() == [1.0]


@pytest.mark.parametrize(
    "changes", [{"mean": np.ones(2)}, {"mean": np.array([0, np.inf, 0])}, {"std": np.array([1.0, -1.0, 1.0])}]
)
def test_unusable_statistics(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match=r"file: statistic '(mean|std)' of feature 'action'.*3 finite"):
        normalizer(Normalization.MEAN_STD, **changes)
