"""Statistics against NumPy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlasteer.recording.stats import KEYS, QUANTILES, image_stats, merge_stats, vector_stats

columns = hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-1e6, 1e6))


@given(columns, columns)
def test_merged_is_that_of_both(one, other):
    left, right = vector_stats(one), vector_stats(other)
    assert left is not None
    assert right is not None
    merged, both = merge_stats(left, right), np.concatenate([one, other])
    np.testing.assert_array_equal(merged["min"], both.min(axis=0))
    np.testing.assert_array_equal(merged["max"], both.max(axis=0))
    np.testing.assert_allclose(merged["mean"], both.mean(axis=0), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(merged["std"], both.std(axis=0), rtol=1e-6, atol=1e-4)
    assert merged["count"] == [len(both)]


def test_merging_with_nothing_changes_nothing():
    stats = vector_stats(np.arange(6.0).reshape(3, 2))
    assert stats is not None
    assert merge_stats(None, stats) is stats


def test_no_statistics_of_values_that_are_no_numbers():
    assert vector_stats(np.array([[1.0], [np.nan]])) is None
    assert vector_stats(np.array([[np.inf], [1.0]])) is None


@settings(deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.just(3))))
def test_of_images(frames):
    stats = image_stats(frames)
    pixels = frames.reshape(-1, 3) / 255
    assert set(stats) == set(KEYS)
    assert all(stats[key].shape == (3, 1, 1) for key in KEYS if key != "count")
    assert stats["count"] == [len(frames)]
    np.testing.assert_allclose(stats["min"].ravel(), pixels.min(axis=0))
    np.testing.assert_allclose(stats["max"].ravel(), pixels.max(axis=0))
    np.testing.assert_allclose(stats["mean"].ravel(), pixels.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(stats["std"].ravel(), pixels.std(axis=0), atol=1e-7)
    for key, q in QUANTILES.items():
        share_below = (pixels < stats[key].ravel()).mean(axis=0)
        share_up_to = (pixels <= stats[key].ravel()).mean(axis=0)
        assert np.all(share_below <= q + 1e-9)
        assert np.all(share_up_to >= q - 1e-9)
