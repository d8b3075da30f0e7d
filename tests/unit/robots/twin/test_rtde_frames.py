"""Frames of RTDE: whatever arrives, in whatever pieces, is frames or a clean refusal."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.robots.twin.rtde_frames import (
    MAX_FRAME,
    TYPE_FORMATS,
    TYPE_LENGTHS,
    FrameError,
    FrameReader,
    FrameType,
    frame,
    package_struct,
    parse_names,
    parse_output_setup,
    parse_protocol_version,
)

FRAMES = st.lists(st.tuples(st.sampled_from(FrameType), st.binary(max_size=300)), max_size=8)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 2000), max_size=20))
def test_frames_survive_being_cut_anywhere(frames: list[tuple[FrameType, bytes]], cuts: list[int]) -> None:
    reader = FrameReader()
    wire = b"".join(frame(kind, payload) for kind, payload in frames)
    found = [item for piece in _cut(wire, cuts) for item in reader.feed(piece)]
    assert found == frames
    assert reader.pending == 0


@given(frames=FRAMES, missing=st.integers(1, 300))
def test_a_truncated_frame_is_waited_for(frames: list[tuple[FrameType, bytes]], missing: int) -> None:
    reader = FrameReader()
    wire = b"".join(frame(kind, payload) for kind, payload in frames) + frame(FrameType.DATA_PACKAGE, bytes(300))
    assert list(reader.feed(wire[:-missing])) == frames
    assert list(reader.feed(wire[-missing:])) == [(FrameType.DATA_PACKAGE, bytes(300))]


@given(data=st.binary(max_size=500))
def test_random_bytes_are_frames_or_an_error(data: bytes) -> None:
    reader = FrameReader()
    try:
        for kind, payload in reader.feed(data):
            assert isinstance(kind, FrameType)
            assert len(payload) <= MAX_FRAME
    except FrameError:
        pass
    else:
        assert reader.pending <= MAX_FRAME


@pytest.mark.parametrize("size", [0, 1, 2, MAX_FRAME + 1, 65535])
def test_impossible_sizes_are_refused_at_once(size: int) -> None:
    with pytest.raises(FrameError, match="bytes"):
        list(FrameReader().feed(struct.pack(">HB", size, FrameType.START)))


def test_unknown_types_are_refused() -> None:
    with pytest.raises(FrameError, match="type 88"):
        list(FrameReader().feed(b"\x00\x03X"))


def test_a_frame_too_long_for_its_size_field_is_not_made() -> None:
    with pytest.raises(FrameError):
        frame(FrameType.DATA_PACKAGE, bytes(65533))


@given(data=st.binary(max_size=200))
def test_setups_of_random_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_output_setup, parse_names, parse_protocol_version):
        try:
            parse(data)
        except FrameError:
            continue


def test_names_come_with_and_without_a_trailing_comma() -> None:
    assert parse_names(b"timestamp,actual_q,") == ("timestamp", "actual_q") == parse_names(b"timestamp, actual_q")


@pytest.mark.parametrize("rate", [0.0, 5e-324, -1.0, float("nan"), float("inf")])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(FrameError, match="rate"):
        parse_output_setup(struct.pack(">d", rate) + b"timestamp")


def test_types_have_the_sizes_of_the_guide() -> None:
    sizes = {name: package_struct([name]).size - 1 for name in TYPE_FORMATS}
    assert sizes == {
        "BOOL": 1,
        "UINT8": 1,
        "UINT32": 4,
        "UINT64": 8,
        "INT32": 4,
        "DOUBLE": 8,
        "VECTOR3D": 24,
        "VECTOR6D": 48,
        "VECTOR6INT32": 24,
        "VECTOR6UINT32": 24,
    }
    assert TYPE_LENGTHS["VECTOR3D"] == 3
    assert TYPE_LENGTHS["VECTOR6INT32"] == 6
