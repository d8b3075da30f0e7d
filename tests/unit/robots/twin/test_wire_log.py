"""The wire log and the motion trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import OutputError
from vlasteer.robots.twin.wire_log import MotionTrace, WireLog


def read_all(log: WireLog, since: int = 0, scan: int = 7, **options: tuple[str, ...]) -> list[dict]:
    found: list[dict] = []
    while since < log.count:
        portion, since = log.read(since, scan=scan, **options)
        found += portion
    return found


@given(count=st.integers(0, 60), since=st.integers(0, 70), capacity=st.integers(1, 40), scan=st.integers(1, 30))
def test_the_newest_entries_are_read_in_order_whatever_was_lost(
    count: int, since: int, capacity: int, scan: int
) -> None:
    log = WireLog(capacity=capacity)
    for i in range(count):
        log.time_s = i / 10
        log.add("even" if i % 2 == 0 else "odd", "test", value=i)
    expected = list(range(max(since, count - capacity), count))
    assert [entry["seq"] for entry in read_all(log, since, scan)] == expected
    assert [e["value"] for e in read_all(log, since, scan, kinds=("odd",))] == [i for i in expected if i % 2]


def test_packed_entries_are_decoded_when_they_are_read() -> None:
    log, calls = WireLog(), []

    def decode(payload: bytes) -> dict[str, int]:
        calls.append(payload)
        return {"value": payload[0]}

    log.add_packed("input", "test", decode, b"\x07")
    assert calls == []
    assert read_all(log)[0]["value"] == 7


def test_the_file_is_the_same_as_json_lines(tmp_path: Path) -> None:
    log = WireLog(str(tmp_path / "wire.jsonl"))
    log.add("program", "controller", state="PLAYING")
    log.add_packed("input", "rtde", lambda payload: {"command": payload[0]}, b"\x0b")
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "wire.jsonl").read_text().splitlines()]
    assert lines == read_all(log)
    log.close()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="wire log"):
        WireLog(str(tmp_path / "nowhere" / "wire.jsonl"))


@given(count=st.integers(0, 40), since=st.floats(-1, 5), rows=st.integers(1, 20))
def test_the_trace_keeps_the_newest_rows_in_order(count: int, since: float, rows: int) -> None:
    trace = MotionTrace(rows)
    for i in range(count):
        trace.add(i / 10, np.full(6, i), np.full(6, -i))
    expected = [i for i in range(max(0, count - rows), count) if i / 10 >= since]
    found = trace.since(since)
    assert found.shape == (len(expected), 13)
    assert found[:, 1].tolist() == expected
    assert found[:, 12].tolist() == [-i for i in expected]
