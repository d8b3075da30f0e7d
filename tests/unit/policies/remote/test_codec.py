"""The codec: exact round trips, openpi's bytes, and nothing but an `InputError` for what strangers send."""

from __future__ import annotations

import math
from contextlib import suppress

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import InputError
from vlasteer.policies.remote.codec import pack, unpack

DTYPES = ("|b1", "<i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", ">f4", ">i2")
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=9)
plain = plain | st.binary(max_size=20)
documents = st.dictionaries(
    st.text(max_size=9),
    st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=20),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        data = bytes(byte % 2 for byte in data)
    return np.frombuffer(data, dtype).reshape(shape) if size else np.zeros(shape, dtype)


@given(documents)
def test_plain_values_return_as_they_were(document) -> None:
    assert unpack(pack(document)) == document


@given(st.dictionaries(st.text(max_size=9), arrays(), max_size=4))
def test_arrays_return_bit_for_bit(document) -> None:
    returned = unpack(pack(document))
    for name, array in document.items():
        assert returned[name].shape == array.shape
        assert returned[name].dtype == array.dtype.newbyteorder("=")
        assert returned[name].astype(array.dtype).tobytes() == array.tobytes()
        assert returned[name].flags.writeable


def test_scalars_keep_their_type() -> None:
    returned = unpack(pack({"a": np.float32(0.1), "b": np.uint8(7), "c": np.True_}))
    assert [type(value) for value in returned.values()] == [np.float32, np.uint8, np.bool_]
    assert returned == {"a": np.float32(0.1), "b": 7, "c": True}


def test_the_bytes_are_openpis() -> None:
    """Recorded from `Packer().pack` of openpi_client 0.1.2."""
    recorded = bytes.fromhex(
        "83a17884c40b5f5f6e6461727261795f5fc3c40464617461c40400010002c4056474797065a33e6932c4057368617065920102a17983c40d"
        "5f5f6e7067656e657269635f5fc3c40464617461cb3fe0000000000000c4056474797065a33c6634a670726f6d7074a2676f"
    )
    assert pack({"x": np.array([[1, 2]], ">i2"), "y": np.float32(0.5), "prompt": "go"}) == recorded


def test_a_slice_that_is_not_contiguous_is_sent_in_order() -> None:
    array = np.arange(12).reshape(3, 4)[::-1, ::2]
    np.testing.assert_array_equal(unpack(pack({"x": array}))["x"], array)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_but_never_breaks(data) -> None:
    with suppress(InputError):
        assert isinstance(unpack(data), dict)


@given(documents, arrays(), st.data())
def test_a_truncated_message_is_refused(document, array, data) -> None:
    message = pack({**document, "x": array})
    with pytest.raises(InputError):
        unpack(message[: data.draw(st.integers(0, len(message) - 1))])


@given(documents, arrays(), st.data())
def test_a_damaged_message_is_refused_or_read(document, array, data) -> None:
    message = bytearray(pack({**document, "x": array}))
    message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        assert isinstance(unpack(bytes(message)), dict)


ARRAY = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}


@pytest.mark.parametrize(
    "change",
    [
        {b"dtype": "|O8"}, {b"dtype": "<c8"}, {b"dtype": "<U2"}, {b"dtype": "f4,f4"}, {b"dtype": None},
        {b"dtype": b"<f4"}, {b"shape": [3]}, {b"shape": [1]}, {b"shape": [-1, -2]}, {b"shape": [2.0]},
        {b"shape": "2"}, {b"shape": [True, 2]}, {b"shape": [1] * 8 + [2]}, {b"data": None}, {b"data": "12345678"},
        {b"shape": [0, 2**62, 2**62], b"data": b""},
    ],
    ids=str,
)  # fmt: skip
def test_an_array_that_is_none_is_refused(change) -> None:
    with pytest.raises(InputError, match="array"):
        unpack(msgpack.packb({"x": ARRAY | change}))


@pytest.mark.parametrize("scalar", [("<f4", "1"), ("|u1", 300), ("<i8", 2**63), ("|O", 1), ("<f4", [1])], ids=str)
def test_a_scalar_that_is_none_is_refused(scalar) -> None:
    with pytest.raises(InputError):
        unpack(msgpack.packb({"x": {b"__npgeneric__": True, b"dtype": scalar[0], b"data": scalar[1]}}))


@pytest.mark.parametrize("value", [[1], 3, None, "text", b"bytes", {1: 2}, {b"x": 1}, ARRAY], ids=str)
def test_a_message_is_a_map_with_strings_as_keys(value) -> None:
    with pytest.raises(InputError):
        unpack(msgpack.packb(value))


def test_a_small_message_cannot_grow_without_bounds() -> None:
    with pytest.raises(InputError, match="more than 10000 lists"):
        unpack(msgpack.packb({"x": [[] for _ in range(20_000)]}))
    deep = b"\x91" * 5000
    with pytest.raises(InputError):
        unpack(b"\x81\xa1x" + deep + b"\xc0")


@pytest.mark.parametrize("value", [np.array(["x"]), np.array([None]), np.complex64(1), object()], ids=str)
def test_what_cannot_be_sent_is_refused_by_the_sender(value) -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        pack({"x": value})
