"""What a reader should be careful about, and what to try next: computed from the runs and their findings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlasteer.analysis.effects import Summary, reference_of, summaries_of, unequal_lengths
from vlasteer.analysis.findings import Finding, Verdict
from vlasteer.analysis.levels import turned_knobs
from vlasteer.analysis.runs import AnalysedRun
from vlasteer.comparison import MOST_NON_ACTION, RANDOM, UNSTEERED
from vlasteer.types import Outcome

FEW_PAIRS = 20
"""Below this many pairs an interval is called rough."""
FAIR_NULL = 20
"""Random draws that make a fair null."""
_UNEQUAL = 0.1
"""Relative difference of lengths that is worth a warning."""


class Caution(NamedTuple):
    """Something to be careful about: a sentence without its full stop, and the run's own figures, if any."""

    text: str
    detail: str = ""


def warnings_of(run: AnalysedRun, runs: Sequence[AnalysedRun] = ()) -> list[Caution]:
    """The gravest first; empty when there is nothing to be careful about."""
    return [*_missing(run), *_over_steered(run), *_counts(run, runs), *_lengths(run, runs), *_recording(run)]


def _missing(run: AnalysedRun) -> list[Caution]:
    outcomes = [episode.outcome for episode in run.episodes if not episode.interrupted]
    counted = (
        (outcomes.count(Outcome.FAILED), "broke off because the world failed; left out of every comparison"),
        (outcomes.count(Outcome.STOPPED), "stopped by hand or by the safety layer; left out of every comparison"),
        (sum(episode.interrupted for episode in run.episodes), "interrupted; left out of every comparison"),
        (run.superseded, "interrupted and run again; the last attempt counts"),
        (run.open, "still open: being recorded, or recovered when the run is resumed"),
    )
    found = [Caution(f"Episodes {what}", str(count)) for count, what in counted if count]
    if run.planned is not None and len(run.finished) < run.planned:
        text = "Not all planned episodes are finished: the run was interrupted or goes on; the same command resumes it"
        found.append(Caution(text, f"{len(run.finished)} of {run.planned}"))
    return found


def _over_steered(run: AnalysedRun) -> list[Caution]:
    return [
        Caution(
            "Over-steered, so that no effect is claimed: tokens that are no actions",
            f"{_name(summary)}: {summary.non_action_tokens:.1f} %",
        )
        for summary in summaries_of(run)
        if summary.draw is None and summary.non_action_tokens > MOST_NON_ACTION
    ]


def _counts(run: AnalysedRun, runs: Sequence[AnalysedRun]) -> list[Caution]:
    steered = [condition for condition in run.conditions if condition != UNSTEERED]
    if not steered:
        return [Caution("No episode is steered: there is nothing to compare")] if len(runs) < 2 else []
    found = reference_of(run, runs)
    if found is None:
        return [Caution("There are no unsteered episodes of the same starts: this describes and proves nothing")]
    source, plain = found
    warned = [] if source is run else [Caution("The unsteered episodes are those of another run", source.name)]
    keys = {episode.key for episode in plain}
    pairs = min(len({e.key for e in run.of(condition)} & keys) for condition in steered)
    if pairs < FEW_PAIRS:
        warned.append(Caution("Few episodes: intervals from so few pairs are rough", f"{pairs} pairs"))
    if len(run.draws) < FAIR_NULL:
        null = {0: "No random draws", 1: "One random draw"}.get(len(run.draws), f"{len(run.draws)} random draws")
        warned.append(Caution(f"{null}; {FAIR_NULL} are a fair null"))
    return warned


def _lengths(run: AnalysedRun, runs: Sequence[AnalysedRun]) -> list[Caution]:
    found = reference_of(run, runs)
    if found is None:
        return []
    ratios = {c: unequal_lengths(run, c, found[1]) for c in run.conditions if c != UNSTEERED}
    unequal = [f"{c}: {100 * (r - 1):+.0f} %" for c, r in ratios.items() if abs(r - 1) > _UNEQUAL]
    text = (
        "Steered episodes are longer or shorter than their unsteered twins, which makes means over whole episodes"
        " misleading; effects are told at equal length"
    )
    return [Caution(text, "; ".join(unequal))] if unequal else []


def _recording(run: AnalysedRun) -> list[Caution]:
    if any(episode.positions is not None for episode in run.episodes):
        return []
    return [Caution("The world's state has no end-effector position: there is success, but no motion to measure")]


def next_steps(runs: Sequence[AnalysedRun], findings: Sequence[Finding], program: str = "vlasteer") -> list[str]:
    """What to do now, the most useful first: a reason, and where one exists a command to paste."""
    named = {run.name: run for run in runs}
    steps = []
    for verdict, reason, changes in (
        (Verdict.OVER_STEERED, "is over-steered; half the coefficient", {"factor": 0.5}),
        (Verdict.UNPAIRED, "stands alone; give every episode its unsteered twin", {"paired": True}),
        (Verdict.OPPOSITE, "goes against its name; look at its neurons, or at random ones beside it", {"random": 20}),
        (Verdict.COSTLY, "costs success; half the coefficient", {"factor": 0.5}),
        (Verdict.NONE_SEEN, "shows nothing at this coefficient; twice of it", {"factor": 2.0}),
        (Verdict.LIKE_RANDOM, "does no more than random neurons; more of these would tell for sure", {"random": 20}),
        (Verdict.NO_NULL, "has no random neurons beside it", {"random": FAIR_NULL}),
    ):
        found = next((f for f in findings if f.verdict is verdict and rollout_command(named[f.run])), None)
        if found is not None:
            steps.append(_step(named[found.run], f"{found.condition} {reason}", changes, program))
    live = next((run for run in runs if run.config.get("command") == "drive" and turned_knobs(run.episodes)), None)
    if live is not None:
        knob, episode = turned_knobs(live.episodes)[0], live.episodes[0].index
        command = shlex.join(
            [*("replay", _shown(live.path), "--episode", str(episode)), *("--counterfactual", f"{knob}=0")]
        )
        steps.append(f"what the policy would have done with {knob} at 0, on what it saw: {program} {command}")
    weak = next((r for r in runs if 0 < len(r.draws) < FAIR_NULL and r.coefficients), None)
    if weak is not None:
        few = f"{len(weak.draws)} random draw{'s' * (len(weak.draws) > 1)} are no fair null for {weak.name}"
        steps.append(_step(weak, f"{few}; {FAIR_NULL} are", {"random": FAIR_NULL}, program))
    good = next((f for f in findings if f.verdict is Verdict.AS_NAMED and named[f.run].coefficients), None)
    if good is not None:
        reason = f"{good.condition} works; four times of it shows where it breaks"
        steps.append(_step(named[good.run], reason, {"factor": 4.0, "random": 0}, program))
    return [step for step in steps if step]


def _step(run: AnalysedRun, reason: str, changes: dict[str, Any], program: str) -> str:
    command = rollout_command(run, program, **changes)
    return f"{reason}: {command}" if command else f"{reason}."


def rollout_command(
    run: AnalysedRun, program: str = "vlasteer", *, factor: float = 1.0, paired: bool = True, random: int | None = None
) -> str:
    """The command of a run with other coefficients or random draws, into a folder beside it; "" for other commands.

    Args:
        run: made by `vlasteer rollout`.
        program: how vlasteer is called.
        factor: on every coefficient.
        paired: add unsteered twins.
        random: number of draws; None keeps it.
    """
    config = run.config
    try:
        tasks, starts, draws = config["tasks"], config["starts"], config["random"] if random is None else random
        if config["command"] != "rollout" or not run.coefficients:
            return ""
    except KeyError:
        return ""
    steer = {name: value * factor for name, value in run.coefficients.items()}
    label = "_".join(f"{name}{value:g}" for name, value in steer.items()) + (f"_random{draws}" if draws else "")
    given = ["--policy", run.policy, "--env", run.world, "--tasks", ",".join(map(str, tasks))]
    first = list(range(len(starts)))
    given += ["--episodes", str(len(starts))] if starts == first else ["--starts", ",".join(map(str, starts))]
    for name, value in steer.items():
        given += ["--steer", f"{name}={value:g}"]
    if (run.path / "features.json").is_file():
        given += ["--pack", _shown(run.path / "features.json")]
    given += ["--paired"] * paired + (["--random", str(draws)] if draws else [])
    given += ["--out", _shown(run.path.with_name(label))]
    return f"{program} rollout {shlex.join(given)}"


def _name(summary: Summary) -> str:
    return "Random neurons" if summary.condition.startswith(RANDOM) else summary.condition


def _shown(path: Path) -> str:
    """Relative to where the command was given, where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
