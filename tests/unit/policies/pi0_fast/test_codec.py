"""FAST: exact round trips, and what damaged sequences become."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.fft import dct, idct
from tiny_pi import CODEC, write_codec

from vlasteer.errors import CheckpointError
from vlasteer.policies.pi0_fast.codec import FastCodec

HORIZON, SIZE = 5, 3
MIN_TOKEN = -60
COEFFICIENTS = npst.arrays(np.int64, (HORIZON, SIZE), elements=st.integers(MIN_TOKEN, 2000))


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> FastCodec:
    folder = tmp_path_factory.mktemp("codec")
    write_codec(folder, min_token=MIN_TOKEN)
    return FastCodec.read(folder)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(coefficients=COEFFICIENTS)
def test_quantised_actions_survive_exactly(codec: FastCodec, coefficients: np.ndarray) -> None:
    actions = idct(coefficients / codec.scale, axis=0, norm="ortho")
    ids = codec.encode(actions)
    for relaxed in (False, True):
        decoded = codec.decode(ids, HORIZON, SIZE, relaxed=relaxed)
        np.testing.assert_allclose(decoded, actions, rtol=0, atol=1e-10)
    assert codec.encode(codec.decode(ids, HORIZON, SIZE)) == ids


@settings(deadline=None)
@given(actions=npst.arrays(np.float64, (HORIZON, SIZE), elements=st.floats(-1, 1)))
def test_the_error_is_that_of_rounding(codec: FastCodec, actions: np.ndarray) -> None:
    decoded = codec.decode(codec.encode(actions), HORIZON, SIZE, relaxed=False)
    error = dct(decoded - actions, axis=0, norm="ortho")
    assert np.abs(np.asarray(error)).max() <= 0.5 / codec.scale + 1e-9


def test_what_lies_below_the_alphabet_is_clipped(codec: FastCodec) -> None:
    decoded = codec.decode(codec.encode(np.full((HORIZON, SIZE), -100.0)), HORIZON, SIZE)
    assert np.asarray(dct(decoded, axis=0, norm="ortho")).min() == pytest.approx(MIN_TOKEN / codec.scale)


@settings(deadline=None)
@given(coefficients=COEFFICIENTS, cut=st.integers(1, HORIZON * SIZE - 1))
def test_missing_coefficients_are_zero_or_the_answer_is(codec: FastCodec, coefficients: np.ndarray, cut: int) -> None:
    text = coefficients.reshape(-1)[:cut]
    ids = codec.encode(text[None] / codec.scale)  # the transform of a single moment is itself
    padded = np.pad(text, (0, HORIZON * SIZE - cut)).reshape(HORIZON, SIZE)
    wanted = idct(padded / codec.scale, axis=0, norm="ortho")
    np.testing.assert_allclose(codec.decode(ids, HORIZON, SIZE), wanted, rtol=0, atol=1e-10)
    assert not codec.decode(ids, HORIZON, SIZE, relaxed=False).any()


@settings(deadline=None)
@given(coefficients=COEFFICIENTS, more=st.integers(1, 4))
def test_surplus_coefficients_are_cut_or_the_answer_is_zero(
    codec: FastCodec, coefficients: np.ndarray, more: int
) -> None:
    actions = idct(coefficients / codec.scale, axis=0, norm="ortho")
    ids = codec.encode(actions) + codec.encode(np.zeros((1, more)))
    np.testing.assert_allclose(codec.decode(ids, HORIZON, SIZE), actions, rtol=0, atol=1e-10)
    assert not codec.decode(ids, HORIZON, SIZE, relaxed=False).any()


@settings(deadline=None)
@given(ids=st.lists(st.integers(-(2**40), 2**31), max_size=40))
def test_any_sequence_decodes_to_finite_numbers(codec: FastCodec, ids: list[int]) -> None:
    for relaxed in (False, True):
        decoded = codec.decode(ids, HORIZON, SIZE, relaxed=relaxed)
        assert decoded.shape == (HORIZON, SIZE)
        assert np.all(np.isfinite(decoded))
        if any(i < 0 for i in ids):
            assert not decoded.any()


def test_ids_beyond_the_vocabulary_stand_for_nothing(codec: FastCodec) -> None:
    ids = codec.encode(np.ones((HORIZON, SIZE)))
    damaged = codec.decode([CODEC, *ids, CODEC + 100], HORIZON, SIZE)
    assert np.array_equal(damaged, codec.decode(ids, HORIZON, SIZE))


def test_an_empty_sequence_is_zero(codec: FastCodec) -> None:
    assert not codec.decode([], HORIZON, SIZE).any()
    assert not codec.decode([], HORIZON, SIZE, relaxed=False).any()


def test_labels(codec: FastCodec) -> None:
    (three,) = codec.encode(np.array([[3 / codec.scale]]))
    assert codec.label(three) == f"<fast {three}: +3>"
    (none,) = codec.encode(np.zeros((1, 1)))
    assert codec.label(none) == f"<fast {none}: 0>"
    half = next(i for i in range(CODEC) if "?" in codec.label(i))  # half of a two-byte character
    assert codec.label(half) == f"<fast {half}: ?>"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"min_token": 0}, "no field 'scale'"),
        ({"scale": 0, "min_token": 0}, "scale is 0.0"),
        ({"scale": "ten", "min_token": 0}, "'scale' is 'ten'"),
    ],
)
def test_unusable_codecs(tmp_path: Path, document: dict[str, object], message: str) -> None:
    write_codec(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=message):
        FastCodec.read(tmp_path)
