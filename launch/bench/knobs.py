"""What the knobs cost: python launch/bench/knobs.py [--knobs 12] [--rounds 5000].

Microseconds of what runs once per control step (`read`, `apply`) and of what a source does (`set`, `beat`), alone and
with four sources that write at the same time, and from a source's `set` to the number in the model's buffer. Without a
GPU the buffers are in main memory.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from vlasteer.controller import Controller
from vlasteer.knobs import Knob, KnobBoard, Source

if TYPE_CHECKING:
    from pathlib import Path

WRITERS, WRITES_HZ = 4, 100.0
NEURONS = 8
"""Of every layer, in each feature."""


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--knobs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5000)
    options = parser.parse_args()
    knobs = [Knob.feature(f"f{i}", 8.0) for i in range(options.knobs)]
    board = KnobBoard([*knobs, Knob.speed(), Knob.replan()])
    print(f"{options.knobs} features, a speed and a replan knob; {WRITERS} writers at {WRITES_HZ:g} Hz")
    print(f"{'microseconds':<38}{'median':>9}{'p99':>9}{'n':>8}")
    with board.source("measured", live=True, rank=1) as source:
        _board_rows(board, source, "", options.rounds)
        with _writers(board):
            _board_rows(board, source, ", others writing", options.rounds)
    _buffer_row(knobs, options.rounds // 5)
    return 0


def _board_rows(board: KnobBoard, source: Source, suffix: str, rounds: int) -> None:
    values = np.random.default_rng(0).uniform(-16, 16, rounds).tolist()
    controller = Controller(board)
    rows: dict[str, Callable[[int], object]] = {
        "set": lambda i: source.set("f0", values[i]),
        "beat": lambda _: source.beat(),
        "held": lambda _: board.held(),
        "read": lambda _: board.read(),
        "apply (read, nothing mounted)": lambda _: controller.apply(),
        "state": lambda _: board.state(),
    }
    for name, call in rows.items():
        _row(name + suffix, call, rounds)


def _buffer_row(knobs: list[Knob], rounds: int) -> None:
    """With every feature mounted in a small random OpenVLA: `set`, `apply` and the commit that a control step makes."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as scratch:
        _mounted_rows(Path(scratch), knobs, rounds)


def _mounted_rows(scratch: Path, knobs: list[Knob], rounds: int) -> None:
    import torch

    from vlasteer.anatomy import Neuron
    from vlasteer.launch.bench.random_openvla import Size, write_checkpoint
    from vlasteer.policies.openvla import load
    from vlasteer.steering import Feature, Steering, steer

    torch.set_num_threads(1)
    write_checkpoint(scratch / "random", Size(layers=12, hidden=256, width=1024, heads=4))
    policy = load(scratch / "random", "random")
    steering = Steering()
    for i, knob in enumerate(knobs):
        neurons = [Neuron(*site.key, i * NEURONS + n) for site in policy.anatomy.sites for n in range(NEURONS)]
        steering += Steering.of(Feature.of(knob.name, neurons), None)
    # Without slew every set reaches the buffer whole.
    board = KnobBoard([Knob(knob.name, low=knob.low, high=knob.high) for knob in knobs])
    values = np.random.default_rng(0).uniform(-16, 16, rounds).tolist()
    with (
        steer(policy, steering) as port,
        Controller(board, port=port) as controller,
        board.source("measured", live=True) as source,
    ):

        def turn(i: int) -> None:
            source.set(knobs[0].name, values[i])
            controller.apply()
            port.commit()

        _row("apply, nothing changed", lambda _: controller.apply(), rounds)
        _row(f"set to buffers of {len(policy.anatomy.sites)} layers", turn, rounds)


def _row(name: str, call: Callable[[int], object], rounds: int) -> None:
    seconds = np.empty(rounds)
    for i in range(rounds):
        begin = time.perf_counter()
        call(i)
        seconds[i] = time.perf_counter() - begin
    median, late = np.percentile(seconds * 1e6, [50, 99]).tolist()
    print(f"{name:<38}{median:>9.1f}{late:>9.1f}{rounds:>8}")


@contextmanager
def _writers(board: KnobBoard) -> Iterator[None]:
    ended = threading.Event()

    def write(number: int) -> None:
        names = list(board.knobs)
        with board.source(f"writer {number}", live=True) as source:
            i = 0
            while not ended.wait(1 / WRITES_HZ):
                i += 1
                knob = board.knobs[names[i % len(names)]]
                source.set(knob.name, knob.low + (i % 7) / 7 * (knob.high - knob.low))
                source.hold(True)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
