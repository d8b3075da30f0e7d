"""Cells of a study: what differs between its conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vlasteer.types import EpisodeKey


@dataclass(frozen=True)
class Condition:
    """One cell.

    Attributes:
        name: unique among those that are run together; the arm of its episodes.
        knobs: feature name -> coefficient.
        adverb: what the instruction asks for besides the task, for the study's `Words` to put into words; or None.
    """

    name: str
    knobs: Mapping[str, float] = field(default_factory=dict)
    adverb: str | None = None


Words = Callable[[EpisodeKey, str | None], str]
"""The instruction of an episode, with or without an adverb."""
