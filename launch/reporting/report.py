"""The report of `vlasteer analyze`: one page about one or several runs, and the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vlasteer import __version__
from vlasteer.analysis import (
    QUANTITIES,
    AnalysedRun,
    Effect,
    Finding,
    Level,
    Summary,
    Verdict,
    effects_of,
    findings_of,
    knob_levels,
    next_steps,
    summaries_of,
    turned_knobs,
    warnings_of,
)
from vlasteer.analysis.advice import Caution
from vlasteer.analysis.tables import Rows, effect_rows, episode_rows, level_rows, step_rows, summary_rows
from vlasteer.launch.reporting import page
from vlasteer.launch.reporting.overview import dose_figures, effect_figures, levels_figure
from vlasteer.launch.reporting.page import Card, Html
from vlasteer.launch.reporting.runs import description, episode_table, features_of, level_table, numbers, success_table
from vlasteer.launch.reporting.sections import films, motion_figures
from vlasteer.launch.reporting.wording import TONES, day, labels, provenance, signed, subtitle


@dataclass(frozen=True)
class Report:
    """A report before it is written: everything is computed when it is first asked for.

    Attributes:
        runs: what it is about.
        program: how vlasteer is called, for the commands that it suggests.
    """

    runs: Sequence[AnalysedRun]
    program: str = "vlasteer"

    @cached_property
    def effects(self) -> Mapping[str, list[Effect]]:
        """Run name -> effects."""
        return {run.name: effects_of(run, self.runs) for run in self.runs}

    @cached_property
    def summaries(self) -> Mapping[str, list[Summary]]:
        """Run name -> summaries of its conditions."""
        return {run.name: summaries_of(run) for run in self.runs}

    @cached_property
    def levels(self) -> Mapping[str, list[Level]]:
        """Run name -> motion at each value of every knob that was turned."""
        return {
            run.name: [level for knob in turned_knobs(run.episodes) for level in knob_levels(run.episodes, knob)]
            for run in self.runs
        }

    @cached_property
    def findings(self) -> list[Finding]:
        """One per condition of all runs."""
        return [finding for run in self.runs for finding in findings_of(run, self.runs)]

    @cached_property
    def next_steps(self) -> list[str]:
        """What to do now, the most useful first."""
        return next_steps(self.runs, self.findings, self.program)

    @cached_property
    def tables(self) -> Mapping[str, Rows]:
        """File name without ending -> rows."""
        every = {run.name: run.episodes for run in self.runs}
        return {
            "effects": effect_rows([e for found in self.effects.values() for e in found]),
            "conditions": summary_rows([s for found in self.summaries.values() for s in found]),
            "episodes": [row for name, episodes in every.items() for row in episode_rows(name, episodes)],
            "steps": [row for name, episodes in every.items() for row in step_rows(name, episodes)],
            "knobs": [row for name, levels in self.levels.items() for row in level_rows(name, levels)],
        }

    def html(self) -> str:
        """The page; it embeds its pictures and fetches nothing."""
        recorded = sum(len(run.episodes) for run in self.runs)
        finished = sum(len(run.finished) for run in self.runs)
        days = dict.fromkeys(day(start.get("started")) for run in self.runs for start in run.starts)
        facts = [
            f"{len(self.runs)} run{'s' * (len(self.runs) > 1)}",
            f"{recorded} episode{'s' * (recorded > 1)}" + (f", {finished} of them finished" * (finished < recorded)),
            *([f"recorded {', '.join(list(days)[:3])}"] if days else []),
            f"vlasteer {__version__}",
        ]
        return page.document(
            "What steering did" if any(self.effects.values()) else "What was recorded",
            self._findings(),
            self._careful(),
            self._effects(),
            self._conditions(),
            *(self._run(run) for run in self.runs),
            self._numbers(),
            self._runs(),
            _definitions(),
            subtitle=subtitle(self.runs),
            facts=" · ".join(facts),
        )

    def _findings(self) -> Html:
        if not self.findings:
            return Html("")
        named = labels(self.runs, [(f.run, f.condition) for f in self.findings])
        shown = [
            Card(label, str(f.verdict), TONES[f.verdict], f.headline, [signed(s) for s in f.sentences])
            for label, f in zip(named, self.findings, strict=True)
        ]
        steps = [_command(step) for step in self.next_steps[:4]]
        return page.section(
            "Findings",
            page.cards(shown),
            page.section("To try next", page.bullets(steps), level=3) if steps else "",
        )

    def _careful(self) -> Html:
        found = [(run.name, caution) for run in self.runs for caution in warnings_of(run, self.runs)]
        found += [("", Caution(text)) for text in provenance(self.runs)]
        items = []
        for text in dict.fromkeys(caution.text for _, caution in found):
            names = [name for name, caution in found if caution.text == text]
            details = dict.fromkeys(c.detail for _, c in found if c.text == text and c.detail)
            whose = "" if len(names) == len(self.runs) or not names[0] else page.strong(", ".join(names) + ": ")
            items.append(page.join(whose, signed(text + (f" ({'; '.join(details)})" if details else "") + ".")))
        if not items:
            return Html("")
        return page.section("To be careful about", page.bullets(items, "careful"))

    def _effects(self) -> Html:
        pictures = effect_figures(self.runs, self.effects, self.summaries, self._void())
        if not pictures:
            return Html("")
        return page.section(
            "Effect of each condition",
            *pictures,
            *dose_figures(self.runs, self.effects),
            lead="Each steered episode is compared with the unsteered one from the same start, both cut to the length"
            " of the shorter one.",
        )

    def _void(self) -> set[tuple[str, str]]:
        return {(f.run, f.condition) for f in self.findings if f.verdict is Verdict.OVER_STEERED}

    def _conditions(self) -> Html:
        shown = [(run.name, summary) for run in self.runs for summary in self.summaries[run.name] if not summary.draw]
        named = labels(self.runs, [(name, summary.condition) for name, summary in shown])
        rows = list(zip(named, (summary for _, summary in shown), strict=True))
        return page.section(
            "Success and motion of each condition",
            success_table(rows),
            lead="Means over whole finished episodes, or over all where none is finished. The interval is Wilson's, of"
            " the success rate.",
        )

    def _run(self, run: AnalysedRun) -> Html:
        levels = self.levels[run.name]
        parts: list[str] = [
            *films(run, starts=1 if len(self.runs) > 2 else 2, chance=len(self.runs) < 3),
            *motion_figures(run),
        ]
        if levels:
            parts += [levels_figure(levels), level_table(levels)]
        return page.section(f"Run {run.name}", *parts, episode_table(run), anchor=f"run-{run.name}")

    def _numbers(self) -> Html:
        void = self._void()
        tables = [
            numbers(self.effects[run.name], self.summaries[run.name], condition, (run.name, condition) in void)
            for run in self.runs
            for condition in run.conditions
            if not any(e.draw for e in run.episodes if e.condition == condition)
        ]
        if not any(tables):
            return Html("")
        return page.section(
            "Every number",
            *tables,
            lead="Bold differences have an interval that excludes 0. The same numbers, random draws included, are in"
            " effects.csv; steps and episodes are in files of their own.",
        )

    def _runs(self) -> Html:
        described = {run.name: description(run) for run in self.runs}
        first = next(iter(described.values()))
        shared = {key: value for key, value in first.items() if all(d.get(key) == value for d in described.values())}
        parts = [page.pairs(list(shared.items()))]
        for run in self.runs:
            own = [(key, value) for key, value in described[run.name].items() if key not in shared]
            told = page.join(page.pairs(own) if own else "", features_of(run))
            parts.append(page.section(run.name, told, level=3) if len(self.runs) > 1 else told)
        return page.section("What was run", *parts)


def _command(step: str) -> Html:
    """A suggestion with its command set as one."""
    reason, colon, command = step.partition(": ")
    return page.join(reason, ":", page.command(command)) if colon else page.join(step)


def _definitions() -> Html:
    terms = [(quantity.label, quantity.about) for quantity in QUANTITIES.values()]
    means = [
        "Pairs are episodes of the same task, start and seed. Differences are steered less unsteered.",
        "Equal length: both members of a pair are cut to the shorter one. A longer episode has more of the slow end.",
        "Intervals of differences are 95 % percentile-bootstrap intervals over pairs (2000 draws, fixed seed).",
        "Random neurons are matched in layers, number, coefficient and the norm that they deliver to the residual"
        " stream. An effect that does not exceed theirs is no effect of the concept.",
        "Above 1 % of tokens that are no actions a condition is over-steered, and nothing is claimed of it.",
        "Failed, stopped and interrupted episodes enter no comparison; they are in the tables.",
    ]
    return page.section("How the numbers are made", page.bullets(means), page.pairs(terms))
