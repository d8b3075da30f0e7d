"""Figures over all runs of a report: effects side by side, dose and response, motion at each knob value."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from vlasteer.analysis import QUANTITIES, AnalysedRun, Effect, Level, Summary
from vlasteer.analysis.effects import draw_differences, effect_of_quantity
from vlasteer.comparison import RANDOM
from vlasteer.launch.reporting import page
from vlasteer.launch.reporting.charts import Curve, CurvePanel, Mark, Panel, curves, forest
from vlasteer.launch.reporting.page import Html
from vlasteer.launch.reporting.style import ACCENT, CHANCE
from vlasteer.launch.reporting.wording import labels

MAIN = ("step_length_mm", "mean_speed_mm_s", "peak_height_mm", "lowest_height_mm")
AXES = ("dx_mm", "dy_mm", "dz_mm", "rise_mm", "path_length_mm")
_NAN = float("nan")


def effect_figures(
    runs: Sequence[AnalysedRun],
    effects: Mapping[str, Sequence[Effect]],
    summaries: Mapping[str, Sequence[Summary]],
    void: Collection[tuple[str, str]],
) -> list[Html]:
    """Success and motion, and motion by axis; none where nothing can be compared.

    Args:
        runs: of the report.
        effects, summaries: by the run's name.
        void: (run, condition) of which nothing is claimed.
    """
    rows = [
        (run.name, condition)
        for run in runs
        for condition in run.conditions
        if any(e.condition == condition and e.draw is None for e in effects[run.name])
    ]
    if not rows:
        return []
    names = labels(runs, rows)
    success = Panel(
        "success", "%", [_success(effects, summaries, *row) for row in rows], zero=False, span=(-6.0, 106.0)
    )
    motion = [_panel(effects, rows, key, void) for key in MAIN if _known(effects, key)]
    caption = (
        "Blue: mean paired difference to the unsteered episodes with its 95 % interval, at equal length; filled where"
        " the interval excludes 0. Grey dots below: random draws; an effect counts where it lies beyond all of them."
        " Success: the rate itself with Wilson's interval, and as a dark bar that of the unsteered episodes."
    )
    if void:
        caption += " Red crosses: over-steered, nothing is claimed."
    figures = [page.figure(forest(names, [success, *motion]), caption, alt="Effects of each condition")]
    if axes := [_panel(effects, rows, key, void) for key in AXES if _known(effects, key)]:
        about = (
            "The same by axis: mean size of a step's x, y and z part, the mean rise of a step with its sign, and the"
            " length of the path over as many steps."
        )
        figures.append(page.figure(forest(names, axes), about, alt="Displacement by axis"))
    return figures


def _panel(
    effects: Mapping[str, Sequence[Effect]], rows: Sequence[tuple[str, str]], key: str, void: Collection
) -> Panel:
    marks = []
    for run, condition in rows:
        effect = effect_of_quantity(effects[run], key, condition)
        chance = draw_differences(effects[run], key)
        if effect is None:
            marks.append(Mark(_NAN))
            continue
        nothing = (run, condition) in void
        marks.append(Mark(effect.difference, effect.low, effect.high, chance, void=nothing))
    return Panel(QUANTITIES[key].name, f"difference ({QUANTITIES[key].unit})", marks)


def _success(
    effects: Mapping[str, Sequence[Effect]], summaries: Mapping[str, Sequence[Summary]], run: str, condition: str
) -> Mark:
    found = next(s for s in summaries[run] if s.condition == condition and s.draw is None)
    paired = effect_of_quantity(effects[run], "success", condition)
    chance = [s.rate for s in summaries[run] if s.draw is not None and s.condition.startswith(RANDOM)]
    return Mark(found.rate, found.low, found.high, chance, reference=paired.reference if paired else _NAN)


def _known(effects: Mapping[str, Sequence[Effect]], key: str) -> bool:
    return any(e.quantity == key for found in effects.values() for e in found)


def dose_figures(runs: Sequence[AnalysedRun], effects: Mapping[str, Sequence[Effect]]) -> list[Html]:
    """Effect over coefficient, for every feature that the runs have at three coefficients or more."""
    doses: dict[str, dict[float, AnalysedRun]] = {}
    for run in runs:
        if len(run.coefficients) == 1:
            ((name, value),) = run.coefficients.items()
            doses.setdefault(name, {}).setdefault(value, run)
    figures = []
    for feature, by_value in doses.items():
        if len(by_value) < 3:
            continue
        panels = []
        for key in ("step_length_mm", "peak_height_mm", "success"):
            found = [
                (value, effect, draw_differences(effects[run.name], key))
                for value, run in sorted(by_value.items())
                if (effect := _steered(effects[run.name], key))
            ]
            if len(found) < 3:
                continue
            xs = [value for value, _, _ in found]
            spread = [(value, d) for value, _, draws in found for d in draws]
            curve = Curve(
                "",
                xs,
                [e.difference for _, e, _ in found],
                [e.low for _, e, _ in found],
                [e.high for _, e, _ in found],
                ACCENT,
                points=True,
                chance=([x for x, _ in spread], [d for _, d in spread]) if spread else None,
            )
            unit = "points" if key == "success" else QUANTITIES[key].unit
            name, across = QUANTITIES[key].name, f"coefficient of {feature}"
            panels.append(CurvePanel(name, across, f"difference ({unit})", [curve], zero=True))
        if panels:
            about = f"The effect of {feature} over its coefficient, with its interval; grey dots are random draws."
            figures.append(page.figure(curves(panels), about, alt=f"Dose and response of {feature}"))
    return figures


def _steered(effects: Sequence[Effect], key: str) -> Effect | None:
    condition = next((e.condition for e in effects if e.draw is None), None)
    return None if condition is None else effect_of_quantity(effects, key, condition)


def levels_figure(levels: Sequence[Level]) -> Html:
    """Speed and height over the value of each knob that was turned."""
    knobs = list(dict.fromkeys(level.knob for level in levels))
    pictures = []
    for knob in knobs:
        own = [level for level in levels if level.knob == knob and level.value == level.value]
        off = [level for level in levels if level.knob == knob and level.value != level.value]
        if len(own) < 2 and not (own and off):
            continue
        x = [level.value for level in own]
        low, high = (np.array([getattr(level, f"speed_{end}") for level in own]) for end in ("low", "high"))
        speed = [Curve("at the value", x, [level.speed_mm_s for level in own], low, high, points=True)]
        height = [Curve("at the value", x, [level.height_mm for level in own], points=True)]
        if off:
            ends = [min(x), max(x)] if len(x) > 1 else [x[0] - 0.5, x[0] + 0.5]
            speed.append(Curve("off", ends, [off[0].speed_mm_s] * 2, colour=CHANCE))
            height.append(Curve("off", ends, [off[0].height_mm] * 2, colour=CHANCE))
        panels = [
            CurvePanel("mean speed", f"value of {knob}", "mm/s", speed),
            CurvePanel("mean height", f"value of {knob}", "mm", height),
        ]
        pictures.append(
            page.figure(
                curves(panels, height=2.3),
                f"Motion while {knob} stood at each value, and while it was off. Nothing is paired here, and what the"
                " arm was doing differs between values: a description of the session, and no proof of an effect.",
                alt=f"Speed and height at each value of {knob}",
            )
        )
    return page.join(*pictures)
