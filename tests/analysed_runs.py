"""Runs as an analysis sees them, made in memory: what `recorded_runs.RunMaker` writes, without a disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from recorded_runs import SPEC, STATES

from vlasteer.analysis import AnalysedRun, Episode
from vlasteer.analysis.episodes import condition_name
from vlasteer.comparison import RANDOM, EpisodeMotion
from vlasteer.recording.layout import Layout
from vlasteer.types import EpisodeKey, Outcome


class AnalysedMaker:
    """Collects episodes for one run.

    Args:
        config: see `recorded_runs.rollout_config`.
        name: of the run.
        turned: take the arms' names for conditions, as where knobs are turned within an episode.
    """

    def __init__(self, config: Mapping[str, Any], *, name: str = "run", turned: bool = False) -> None:
        self.config, self.name, self.turned = config, name, turned
        self.episodes: list[Episode] = []

    def episode(
        self,
        arm: str,
        start: int,
        positions: np.ndarray,
        outcome: Outcome = Outcome.SUCCESS,
        *,
        knobs: Mapping[str, ArrayLike] | None = None,
        foreign: int = 0,
    ) -> None:
        """As `RunMaker.episode`; RUNNING is an interruption."""
        n, interrupted = len(positions), outcome is Outcome.RUNNING
        outcome = Outcome.FAILED if interrupted else outcome
        values = {name: np.broadcast_to(np.asarray(v, float), n) for name, v in (knobs or {}).items()}
        key = EpisodeKey(0, start, 7)
        commanded = np.tile([0.025, 0, 0], (n, 1))
        motion = EpisodeMotion(arm, key, outcome, positions, commanded, 7 * n, foreign, SPEC.rate_hz)
        self.episodes.append(
            Episode(
                index=len(self.episodes),
                key=key,
                arm=arm,
                condition=arm if self.turned else condition_name(arm, values, self.config),
                draw=next(iter(values)).rpartition("~")[2] if arm == RANDOM else None,
                instruction="go",
                outcome=outcome,
                interrupted=interrupted,
                rate_hz=SPEC.rate_hz,
                time_s=np.arange(n) / SPEC.rate_hz,
                positions=positions,
                motion=motion,
                tokens=7 * n,
                non_action_tokens=foreign,
                inference_s=np.full(n, 0.01),
                knobs=values,
                extras={},
            )
        )

    def run(self) -> AnalysedRun:
        """The run; there is no folder."""
        return AnalysedRun(
            path=Path("/nowhere") / self.name,
            name=self.name,
            config=self.config,
            starts=[{"facts": {"policy": "toy"}}],
            layout=Layout(SPEC, 7, STATES, {}, (), ()),
            episodes=self.episodes,
            superseded=0,
            open=0,
            features={},
        )
