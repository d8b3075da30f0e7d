"""What episodes did, kept in memory: for studies of thousands of short episodes whose pictures nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vlasteer.comparison import POSITION_NAMES, EpisodeMotion
from vlasteer.errors import InputError
from vlasteer.types import EpisodeInfo, Outcome, StepRecord


class MotionCollector:
    """A sink of one episode (`vlasteer.protocols.Sink`) that hands over its `EpisodeMotion` when it ends.

    Args:
        take: told of finished episodes; of broken and interrupted ones it is not.
        state_names: of the world.

    Raises:
        InputError: a state without an end-effector position.
    """

    def __init__(self, take: Callable[[EpisodeMotion], object], state_names: Sequence[str]) -> None:
        if not set(POSITION_NAMES) <= set(state_names):
            raise InputError("a world whose state has no end-effector position", expected=", ".join(POSITION_NAMES))
        self._take = take
        self._place = [list(state_names).index(name) for name in POSITION_NAMES]
        self._info: EpisodeInfo | None = None

    def open(self, episode: EpisodeInfo) -> None:
        """An episode begins."""
        self._info = episode
        self._positions: list[np.ndarray] = []
        self._commanded: list[np.ndarray] = []
        self._tokens = self._foreign = 0

    def step(self, record: StepRecord) -> None:
        """A control step."""
        assert record.observation.state is not None
        self._positions.append(record.observation.state[self._place])
        self._commanded.append(record.action[:3])
        self._tokens += record.tokens
        self._foreign += record.non_action_tokens

    def close(self, outcome: Outcome) -> None:
        """It ended."""
        if self._info is None or outcome not in (Outcome.SUCCESS, Outcome.HORIZON):
            return
        scale = np.array(self._info.action_spec.scale[:3])
        self._take(
            EpisodeMotion(
                arm=self._info.arm,
                key=self._info.key,
                outcome=outcome,
                positions=np.array(self._positions),
                commanded=np.array(self._commanded) * scale,
                tokens=self._tokens,
                non_action_tokens=self._foreign,
                rate_hz=self._info.action_spec.rate_hz,
            )
        )
