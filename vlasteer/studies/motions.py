"""What episodes did, kept in memory: for studies of thousands of short episodes whose pictures nobody needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlasteer.comparison import POSITION_NAMES, EpisodeMotion
from vlasteer.errors import InputError
from vlasteer.types import EpisodeInfo, Outcome, StepRecord


class MotionCollector:
    """A sink of one episode (`vlasteer.protocols.Sink`) that appends its `EpisodeMotion` when it ends.

    Args:
        into: where finished episodes go; broken and interrupted ones do not.
        state_names: of the world.

    Raises:
        InputError: a state without an end-effector position.
    """

    def __init__(self, into: list[EpisodeMotion], state_names: Sequence[str]) -> None:
        if not set(POSITION_NAMES) <= set(state_names):
            raise InputError("a world whose state has no end-effector position", expected=", ".join(POSITION_NAMES))
        self._into = into
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
        self._into.append(
            EpisodeMotion(
                arm=self._info.arm,
                key=self._info.key,
                outcome=outcome,
                positions=np.array(self._positions),
                commanded=np.array(self._commanded) * scale,
                tokens=self._tokens,
                non_action_tokens=self._foreign,
            )
        )
