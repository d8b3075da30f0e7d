"""Requests that come together are answered together: rows of one batch, each with its own coefficients."""

from __future__ import annotations

import queue
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from vlasteer.errors import VlasteerError
from vlasteer.launch.serving.requests import Request
from vlasteer.protocols import Policy
from vlasteer.steering import Port
from vlasteer.types import ActionChunk


@dataclass(frozen=True)
class Answer:
    """What the policy says to a request.

    Attributes:
        chunk: the actions, and what was applied.
        batch: how many requests were answered together.
        waited_s: from the request's arrival to the beginning of its batch.
    """

    chunk: ActionChunk
    batch: int
    waited_s: float


@dataclass(frozen=True)
class _Asked:
    request: Request
    answer: Future[Answer]
    arrived: float = field(default_factory=time.perf_counter)


class Batcher:
    """Collects requests from any thread; one thread answers them.

    Args:
        policy: whose model the answering thread alone may touch.
        port: of the mounted features; its rows bound the batch.
        window_s: how long the first request of a batch waits for others.
        expected: how many clients could ask now; when all of them have asked, nobody waits any longer.
    """

    def __init__(self, policy: Policy, port: Port, *, window_s: float, expected: Callable[[], int]) -> None:
        self._policy, self._port = policy, port
        self._window_s, self._expected = window_s, expected
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()

    def ask(self, request: Request) -> Future[Answer]:
        """Queue a request. The future holds its answer, or what the policy raised."""
        asked = _Asked(request, Future())
        self._asked.put(asked)
        return asked.answer

    def answer_next(self, timeout_s: float) -> int:
        """Answer one batch, waiting up to `timeout_s` for its first request; returns how many were answered."""
        batch = self._collect(timeout_s)
        groups: dict[tuple[int, ...] | None, list[_Asked]] = defaultdict(list)
        for asked in batch:  # noise of one shape becomes one array
            noise = asked.request.noise
            groups[None if noise is None else noise.shape].append(asked)
        for group in groups.values():
            self._answer(group)
        return len(batch)

    def close(self) -> None:
        """Refuse what is still queued."""
        while not self._asked.empty():
            self._asked.get().answer.set_exception(VlasteerError("the server is stopping"))

    def _collect(self, timeout_s: float) -> list[_Asked]:
        try:
            batch = [self._asked.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        deadline = time.perf_counter() + self._window_s
        while len(batch) < min(self._port.rows, max(self._expected(), 1)):
            try:
                batch.append(self._asked.get(timeout=max(deadline - time.perf_counter(), 0)))
            except queue.Empty:
                break
        return batch

    def _answer(self, group: Sequence[_Asked]) -> None:
        started = time.perf_counter()
        try:
            chunks = self._act([asked.request for asked in group])
        except Exception as error:  # noqa: BLE001  whatever one request does to the policy, the server lives on
            if len(group) == 1:
                group[0].answer.set_exception(error)
                return
            for asked in group:  # whose fault it was shows when each is answered alone
                self._answer([asked])
            return
        for asked, chunk in zip(group, chunks, strict=True):
            asked.answer.set_result(Answer(chunk, len(group), started - asked.arrived))

    def _act(self, requests: Sequence[Request]) -> list[ActionChunk]:
        for row, request in enumerate(requests):
            self._port.set_all(request.knobs, row=row if self._port.rows > 1 else None)
        given = [request.noise for request in requests if request.noise is not None]
        return self._policy.act_batch(
            [request.observation for request in requests],
            np.stack(given) if given else None,
            rows=range(len(requests)),
        )
