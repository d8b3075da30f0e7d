"""Pieces of studies: does steering a feature do what its name says, and more than steering anything does?

matched     random features that deliver as much as a given one
effects     paired effects with intervals, and the band of a null
motions     a sink that keeps what episodes did, in memory
conditions  cells of a study
archive     finished episodes in a file, for resumption
paper       the battery of the paper: features, cells, rows of results

Imports point upward in this list only. Running episodes is the business of `vlasteer.runtime` and of who calls it: for
studies, `vlasteer.launch.studies`.
"""

from vlasteer.studies.conditions import Condition
from vlasteer.studies.effects import Effect, NullBand, effect_of, null_band
from vlasteer.studies.matched import matched_draws
from vlasteer.studies.motions import MotionCollector

__all__ = [
    "Condition",
    "Effect",
    "MotionCollector",
    "NullBand",
    "effect_of",
    "matched_draws",
    "null_band",
]
