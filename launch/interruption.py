"""Ctrl-C, SIGTERM and a closed terminal: all end a command in order, and never in the middle of writing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    with _handling(_interrupt):
        yield


@contextmanager
def interruptible_at_steps(asked: threading.Event | None = None) -> Iterator[Callable[[], None]]:
    """Yields a check for the end of each step: after a signal it raises KeyboardInterrupt. A second acts at once.

    `asked` is set by the first signal, for a thread that waits for it.
    """
    asked = threading.Event() if asked is None else asked

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            _interrupt(number, frame)
        asked.set()

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    with _handling(handle):
        yield check


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only; elsewhere the caller's handlers stand
        return
    numbers = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]  # nohup's wish
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
