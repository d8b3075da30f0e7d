"""Listening at a policy: what it was asked, what it answered, and what went on inside it (files: `call_files`).

    with CallTap(policy, activations=ActivationChoice(sites)) as tap:
        recorder = dataset.recorder(beside=[tap.recorder()])
        run_episodes(tap.policy, ...)

A file is put in place whole when the call has been answered: `kill -9` loses at most the one that is being written.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlasteer.anatomy import Site, SiteKey
from vlasteer.errors import ConfigError, OutputError
from vlasteer.protocols import Policy
from vlasteer.recording.call_files import FOLDER, LIMIT_BYTES, call_name, write_call
from vlasteer.types import ActionChunk, EpisodeInfo, Observation, StepRecord


@dataclass(frozen=True)
class ActivationChoice:
    """Which activations are kept. They are what enters `down_proj`, after steering.

    Attributes:
        sites: of which FFNs.
        positions: "last" of every forward pass (for decoding passes the only one), or "all".
        dtype: as they are stored; float16 halves the size and turns what is beyond 65504 into infinity.
    """

    sites: tuple[Site, ...]
    positions: Literal["last", "all"] = "last"
    dtype: Literal["float32", "float16"] = "float32"


@dataclass
class _Call:
    """One answered observation."""

    observation: Observation
    chunk: ActionChunk
    activations: dict[SiteKey, list[Tensor]]
    index: int = -1


class CallTap:
    """Listens at a policy. One episode that is open gets every call; of several, each gets those of its observations.

    Args:
        policy: whose calls are recorded; mount steering in it as ever.
        activations: what to keep of them; None: nothing.
        images: keep the policy's pictures, exact (PNG).
        limit_bytes: of one episode; later calls are kept without activations and pictures, and say so.

    Attributes:
        policy: ask this one instead; otherwise the same.

    Raises:
        ConfigError: activations of a policy whose model is elsewhere.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        activations: ActivationChoice | None = None,
        images: bool = False,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self.images, self.limit_bytes = images, limit_bytes
        self.dtype = torch.float16 if activations and activations.dtype == "float16" else torch.float32
        self.policy = cast(Policy, _Tapped(policy, self))
        self._lock = threading.Lock()
        self._open: list[CallRecorder] = []
        self._early: dict[int, _Call] = {}  # by identity of the observation, which the call keeps alive
        self._rows: Sequence[int] | None = None
        self._seen: list[dict[SiteKey, list[Tensor]]] = []
        self._handles: list[Any] = []
        if activations is not None and activations.sites:
            anatomy = getattr(policy, "anatomy", None)
            if anatomy is None:
                raise ConfigError(
                    f"activations of {policy.name} were asked for, whose model is elsewhere",
                    fix="Record them where the policy runs",
                )
            for site in activations.sites:
                hook = self._hook(site, anatomy.contexts[site.key.stream], last=activations.positions == "last")
                self._handles.append(anatomy.down_proj(site).register_forward_pre_hook(hook))

    def recorder(self) -> CallRecorder:
        """For one episode that is open at a time; goes to `DatasetWriter.recorder(beside=...)`."""
        return CallRecorder(self)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> CallTap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hook(self, site: Site, context: Any, *, last: bool) -> Any:
        def hook(_module: Any, arguments: tuple[Tensor, ...]) -> None:
            if self._rows is None:
                return  # nobody's call: a self-test, a probe
            values = arguments[0].detach()
            kept = (values[:, -1:] if last else values).to("cpu", self.dtype, copy=True)
            for row, own in zip(context.batch_rows, kept, strict=False):
                self._seen[self._rows.index(row)].setdefault(site.key, []).append(own)

        return hook

    def _ask(self, policy: Policy, seen: Sequence[Observation], noise: Any, rows: Sequence[int]) -> list[ActionChunk]:
        self._rows, self._seen = rows, [{} for _ in seen]
        try:
            chunks = policy.act_batch(seen, noise, rows)
        finally:
            self._rows = None
        calls = [_Call(*parts) for parts in zip(seen, chunks, self._seen, strict=True)]
        with self._lock:
            alone = self._open[0] if len(self._open) == 1 else None
            if alone is None:
                self._early = {id(call.observation): call for call in calls}
        if alone is not None:
            for call in calls:
                alone.take(call)
        return chunks

    def _opened(self, recorder: CallRecorder) -> None:
        with self._lock:
            self._open.append(recorder)

    def _ended(self, recorder: CallRecorder) -> None:
        with self._lock:
            if recorder in self._open:
                self._open.remove(recorder)

    def _call_of(self, observation: Observation) -> _Call | None:
        with self._lock:
            return self._early.pop(id(observation), None)


class _Tapped:
    """The policy, with its calls handed on."""

    def __init__(self, policy: Policy, tap: CallTap) -> None:
        self._policy, self._tap = policy, tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        return self.act_batch([observation], noise)[0]

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        given = list(range(len(observations))) if rows is None else list(rows)
        return self._tap._ask(self._policy, observations, noise, given)


class CallRecorder:
    """Writes the calls of one episode; a `vlasteer.recording.recorder.Companion`. Made by `CallTap.recorder`.

    A thread writes, one call behind the policy at most.
    """

    place = FOLDER

    def __init__(self, tap: CallTap) -> None:
        self._tap = tap
        self._folder: Path | None = None
        self._waiting: list[_Call] = []
        self._count = self._bytes = 0
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[int] | None = None
        self._lock = threading.Lock()

    def open(self, episode: EpisodeInfo) -> None:
        """From now on calls may be this episode's."""
        self._count = self._bytes = 0
        self._waiting, self._folder = [], None
        self._tap._opened(self)

    def begin(self, folder: Path) -> None:
        """Write into `folder` from now on, beginning with what came before the first step."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="calls")
        with self._lock:
            self._folder, waiting = folder, self._waiting
            self._waiting = []
            for call in waiting:
                self._write(call)

    def step(self, record: StepRecord) -> None:
        """Recognise the call that this step came from, where several episodes are open.

        Raises:
            OutputError: the disk refused an earlier one.
        """
        call = self._tap._call_of(record.observation)
        if call is not None:
            self.take(call)

    def take(self, call: _Call) -> None:
        """A call of this episode; from any thread."""
        with self._lock:
            call.index, self._count = self._count, self._count + 1
            if self._folder is None:
                self._waiting.append(call)
            else:
                self._write(call)

    def end(self) -> None:
        """Everything is on disk afterwards.

        Raises:
            OutputError: the disk refused a call.
        """
        self._tap._ended(self)
        with self._lock:
            thread, pending = self._thread, self._pending
            self._folder = self._thread = self._pending = None
        if thread is None:
            return
        thread.shutdown()
        if pending is not None:
            self._settle(pending)

    def _write(self, call: _Call) -> None:
        assert self._thread is not None
        assert self._folder is not None
        if self._pending is not None:
            self._settle(self._pending)
        full = self._bytes >= self._tap.limit_bytes
        self._pending = self._thread.submit(
            write_call,
            self._folder / call_name(call.index),
            call.index,
            call.observation,
            call.chunk,
            {} if full else call.activations,
            images=self._tap.images and not full,
            full=full,
        )

    def _settle(self, pending: Future[int]) -> None:
        try:
            self._bytes += pending.result()
        except OSError as error:
            raise OutputError(f"the policy's calls cannot be written: {error}", fix="Free disk space") from error
