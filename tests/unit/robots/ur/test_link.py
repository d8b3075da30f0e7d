"""The channel to the servo process."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.robots.ur.link import Link


def test_messages_arrive_whole_and_in_order() -> None:
    ours, socket = Link.pair()
    theirs = Link(socket)
    assert theirs.receive() == []
    for number in range(50):
        assert ours.send({"number": number, "actions": [[0.1] * 7] * 50})
    assert [message["number"] for message in theirs.receive()] == list(range(50))
    ours.close()
    theirs.close()


@given(st.lists(st.floats(allow_nan=False), max_size=20))
def test_numbers_keep_their_bits(values: list[float]) -> None:
    ours, socket = Link.pair()
    theirs = Link(socket)
    ours.send({"values": values})
    (message,) = theirs.receive()
    assert np.array(message["values"]).tobytes() == np.array(values).tobytes()
    ours.close()
    theirs.close()


def test_what_is_no_number_arrives_as_such() -> None:
    ours, socket = Link.pair()
    theirs = Link(socket)
    ours.send({"values": [float("nan"), float("inf")]})
    (message,) = theirs.receive()
    assert math.isnan(message["values"][0])
    assert math.isinf(message["values"][1])
    ours.close()
    theirs.close()


def test_nobody_waits_for_a_full_socket() -> None:
    ours, socket = Link.pair()
    theirs = Link(socket)
    while ours.send({"filling": "x" * 10_000}):
        pass
    assert ours.dropped == 1
    assert not ours.closed
    theirs.receive()
    assert ours.send({"again": True})
    ours.close()
    theirs.close()


def test_the_end_is_seen_after_what_was_said_before_it() -> None:
    ours, socket = Link.pair()
    theirs = Link(socket)
    ours.send({"last": "word"})
    ours.close()
    assert theirs.receive() == [{"last": "word"}]
    assert theirs.closed
    assert not theirs.send({})
    theirs.close()
