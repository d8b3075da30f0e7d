"""Numbers of recorded runs: what episodes did, what conditions changed, and what may be said of it.

    quantities  what is measured of an episode: names, units, definitions
    episodes    the episodes of a run folder with their series: time, position, knobs
    runs        a run as it is analysed: conditions, what is missing, which runs compare
    effects     conditions beside their reference, paired, with intervals; success and tokens beside them
    levels      knobs that are turned within an episode: motion at each of their values
    findings    one verdict per condition, in words, computed from the effects
    advice      what to be careful about, and what to try next
    tables      rows for CSV, Parquet and notebooks

Imports point upward in this list only. Nothing here draws: pictures and pages are made in `vlasteer.launch.reporting`.
"""

from vlasteer.analysis.advice import Caution, next_steps, warnings_of
from vlasteer.analysis.effects import Effect, Summary, effects_of, summaries_of
from vlasteer.analysis.episodes import Episode
from vlasteer.analysis.findings import Finding, Verdict, findings_of
from vlasteer.analysis.levels import Level, knob_levels, turned_knobs
from vlasteer.analysis.quantities import QUANTITIES, Quantity
from vlasteer.analysis.runs import AnalysedRun, load_runs

__all__ = [
    "QUANTITIES",
    "AnalysedRun",
    "Caution",
    "Effect",
    "Episode",
    "Finding",
    "Level",
    "Quantity",
    "Summary",
    "Verdict",
    "effects_of",
    "findings_of",
    "knob_levels",
    "load_runs",
    "next_steps",
    "summaries_of",
    "turned_knobs",
    "warnings_of",
]
