"""Asking the policy beside the loop, one question at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from vlasteer.live.session import Thought
from vlasteer.types import Observation


class PolicyThread:
    """A thread that thinks. A context manager; leaving waits for an answer that is on its way.

    Args:
        think: asks the policy about an observation, at a generation of the controller, and waits.
    """

    def __init__(self, think: Callable[[Observation, int], Thought]) -> None:
        self._think = think
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._running: Future[Thought] | None = None
        self._forgotten = False

    @property
    def busy(self) -> bool:
        """Whether a question is open; also one whose answer nobody wants any more."""
        return self._running is not None

    def ask(self, observation: Observation, asked: int) -> None:
        """Ask; nothing else may be open."""
        assert self._running is None
        self._forgotten = False
        self._running = self._thread.submit(self._think, observation, asked)

    def take(self) -> Thought | None:
        """The answer, once, when there is one.

        Raises:
            Whatever the policy raised.
        """
        if self._running is None or not self._running.done():
            return None
        thought, self._running = self._running.result(), None
        return None if self._forgotten else thought

    def forget(self) -> None:
        """The answer to the open question is not wanted."""
        self._forgotten = True

    def __enter__(self) -> PolicyThread:
        return self

    def __exit__(self, *_: object) -> None:
        # A policy must not be unmounted or unloaded while it computes.
        self._thread.shutdown(wait=True, cancel_futures=True)
