"""The board with many threads that write and one that reads."""

from __future__ import annotations

import threading

from vlasteer.knobs import Knob, KnobBoard


def test_many_writers_and_one_reader() -> None:
    board = KnobBoard([Knob(name, low=-8, high=8, slew_per_s=5.0) for name in "abcd"])
    ended, failures = threading.Event(), []

    def write(number: int) -> None:
        try:
            with board.source(f"w{number}", live=True, rank=number % 2) as source:
                for i in range(300):
                    name = "abcd"[(i + number) % 4]
                    source.set(name, (i * number) % 20 - 10)
                    source.hold(i % 7 != 0)
                    if i % 11 == 0:
                        source.release(name)
                    board.state()
        except Exception as error:  # noqa: BLE001 - it is what the test looks for
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    previous: dict[str, float | None] = dict.fromkeys("abcd")
    time_s = board.read().time_s
    while not ended.is_set():
        if not any(thread.is_alive() for thread in threads):
            ended.set()
        reading = board.read()
        for name, value in reading.values.items():
            assert value is None or -8 <= value <= 8
            moved = abs((value or 0.0) - (previous[name] or 0.0))
            assert moved <= 5.0 * (reading.time_s - time_s) + 1e-9
        previous, time_s = dict(reading.values), reading.time_s
    for thread in threads:
        thread.join()
    assert failures == []
    assert board.state().sources == ()
    assert not board.held()
