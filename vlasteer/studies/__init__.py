"""Pieces of studies: does steering a feature do what its name says, and more than steering anything does?

    matched   random features that deliver as much as a given one
    motions   a sink that keeps what episodes did, in memory
    effects   paired effects with intervals, and the band of a null

Running episodes is the business of `vlasteer.runtime` and of who calls it.
"""

from vlasteer.studies.effects import Effect, NullBand, effect_of, null_band
from vlasteer.studies.matched import matched_draws
from vlasteer.studies.motions import MotionCollector

__all__ = ["Effect", "MotionCollector", "NullBand", "effect_of", "matched_draws", "null_band"]
