"""Chunks to single actions: the policy is asked again when the part of its chunk that is to be executed is used up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.conventions import Converter
from vlasteer.errors import ConfigError
from vlasteer.types import ActionChunk


@dataclass(frozen=True)
class BrokeredAction:
    """One action on its way to the world.

    Attributes:
        policy: float64 [size], as the policy gave it.
        world: float64 [size], in the world's convention.
        chunk: 0-based count of policy calls in the episode.
        chunk_step: 0-based place in the chunk.
        source: the chunk that it is from.
    """

    policy: NDArray[np.float64]
    world: NDArray[np.float64]
    chunk: int
    chunk_step: int
    source: ActionChunk


class ChunkBroker:
    """Hands out the actions of one episode's chunks.

    Args:
        convert: policy convention -> world convention.
        replan: how many actions of a chunk are executed before the policy is asked again; a shorter chunk is used
            whole.
    """

    def __init__(self, convert: Converter, replan: int) -> None:
        self._convert, self.replan = convert, replan
        self._chunk: ActionChunk | None = None
        self._actions: NDArray[np.float64] = np.zeros((0, 0))
        self._next = 0
        self._count = -1

    @property
    def replan(self) -> int:
        """How many actions of a chunk are executed; a new number counts from the next chunk on."""
        return self._replan

    @replan.setter
    def replan(self, replan: int) -> None:
        if replan < 1:
            raise ConfigError(f"replan interval {replan}", expected="at least 1 action")
        self._replan = replan

    @property
    def empty(self) -> bool:
        """Whether the policy has to be asked before the next action."""
        return self._next >= len(self._actions)

    @property
    def last_of_chunk(self) -> bool:
        """Whether the action that `pop` would give is the last before the policy is asked."""
        return self._next == len(self._actions) - 1

    def fill(self, chunk: ActionChunk) -> None:
        """Replace what is left by a new chunk."""
        self._chunk = chunk
        self._actions = self._convert(chunk.actions[: self._replan])
        self._next = 0
        self._count += 1

    def clear(self) -> None:
        """Forget what is left, so that the policy is asked before the next action."""
        self._next = len(self._actions)

    def pop(self) -> BrokeredAction:
        """The next action."""
        assert self._chunk is not None
        i = self._next
        self._next += 1
        return BrokeredAction(self._chunk.actions[i], self._actions[i], self._count, i, self._chunk)
