"""Figures of the battery like the paper's, as PNG files. Success stands in every one that shows behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlasteer.comparison import EpisodeMotion
from vlasteer.studies.paper import DEPTHS, HEIGHT, SPEED, UNSTEERED, UP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
_COLOURS = {"unsteered": "#555555", "prompt": "#2f6db3", "clamp": "#c4442b", "random": "#b0b0b0"}
_SIZES = ("#f2b134", "#c4442b", "#5b2a86", "#2a6f5b")


def draw_all(rows: Sequence[Row], motions: Mapping[str, Sequence[EpisodeMotion]], folder: Path) -> list[Path]:
    """Draw what there is.

    Args:
        rows: of `vlasteer.studies.paper.results_of`, both kinds.
        motions: of the closed loop.
        folder: for the files.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "height.png": _height(rows, motions),
        "speed.png": _speed(rows),
        "fast_and_slow.png": _fast_and_slow(rows),
        "up_by_depth.png": _up_by_depth(rows),
    }
    paths = []
    for name, figure in drawn.items():
        if figure is not None:
            figure.savefig(folder / name, dpi=110, bbox_inches="tight")
            paths.append(folder / name)
    return paths


def _height(rows: Sequence[Row], motions: Mapping[str, Sequence[EpisodeMotion]]) -> Figure | None:
    """Low and high transport: heights by condition, and the mean height over time."""
    from matplotlib.figure import Figure as New

    measures = ("lowest height (mm)", "mean height (mm)", "peak height (mm)")
    figure = New(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, concept in zip(axes, HEIGHT, strict=True):
        some = [r for r in rows if r["study"] == "height" and r["concept"] == concept]
        if not some:
            return None
        _bars(row[0], some, measures)
        row[0].set(title=f"{concept}: heights", ylabel="mm")
        arms = [(UNSTEERED, "unsteered")] + [(r["condition"], r["kind"]) for r in some if r["measure"] == measures[0]]
        for arm, kind in arms:
            if kind != "random":
                _over_time(row[1], motions[arm], arm, _COLOURS[kind])
        drawn = [m for name, own in motions.items() if _is_draw(name, concept) for m in own]
        _over_time(row[1], drawn, "random", _COLOURS["random"])
        row[1].set(title="mean height over time (episodes that still run)", xlabel="step", ylabel="mm")
        row[1].legend(fontsize=8)
        _success(row[2], [r for r in some if r["measure"] == measures[0]])
    return figure


def _speed(rows: Sequence[Row]) -> Figure | None:
    """Slow and fast transport, counterfactually: displacement per axis."""
    from matplotlib.figure import Figure as New

    measures = [f"commanded |d{axis}| (mm)" for axis in "xyz"] + ["commanded step (mm)"]
    figure = New(figsize=(12, 4.2), layout="constrained")
    for axes, concept in zip(figure.subplots(1, 2), SPEED, strict=True):
        some = [r for r in rows if r["study"] == "speed" and r["concept"] == concept]
        if not some:
            return None
        _bars(axes, some, measures)
        axes.set(title=f"{concept}: displacement asked for, same observations", ylabel="mm a step")
    return figure


def _fast_and_slow(rows: Sequence[Row]) -> Figure | None:
    """Commanded step over the coefficient, by cluster size; success and foreign tokens below."""
    from matplotlib.figure import Figure as New

    some = [r for r in rows if r["study"] == "fast and slow"]
    if not some:
        return None
    figure = New(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(3, 2, sharex=True, sharey="row", height_ratios=(3, 1, 1))
    for column, concept in zip(axes.T, SPEED, strict=True):
        own = [r for r in some if r["concept"] == concept]
        _curves(column[0], [r for r in own if r["measure"] == "commanded step (mm)"], "mean")
        _reference(column[0], own, "commanded step (mm)")
        column[0].set(title=f"{concept}: commanded step at equal length", ylabel="mm a step")
        _shares(column[1:], [r for r in own if r["measure"] == "commanded step (mm)"])
        column[-1].set(xlabel="coefficient")
    return figure


def _up_by_depth(rows: Sequence[Row]) -> Figure | None:
    """`up` in the early, late and all layers: every axis, and success."""
    from matplotlib.figure import Figure as New

    some = [r for r in rows if r["study"] == "up by depth"]
    if not some:
        return None
    measures = ("commanded dz (mm)", *(f"commanded |d{axis}| (mm)" for axis in "xyz"))
    figure = New(figsize=(12, 12), layout="constrained")
    axes = figure.subplots(len(measures) + 2, len(DEPTHS), sharex=True, sharey="row")
    for column, depth in zip(axes.T, DEPTHS, strict=True):
        own = [r for r in some if r["depth"] == depth]
        for one, measure in zip(column, measures, strict=False):
            _curves(one, [r for r in own if r["measure"] == measure], "mean")
            _reference(one, own, measure)
            one.set_ylabel(measure.removeprefix("commanded "))
        column[0].set_title(f"{UP}, {depth} layers (commanded, equal length)")
        _shares(column[-2:], [r for r in own if r["measure"] == measures[0]])
        column[-1].set_xlabel("coefficient")
    return figure


def _bars(axes: Axes, rows: Sequence[Row], measures: Sequence[str]) -> None:
    """Groups of bars: unsteered, then every condition with its interval (of the draws: their range)."""
    kinds = ["prompt", "clamp", "random"]
    width = 0.8 / (1 + len(kinds))
    for place, measure in enumerate(measures):
        of = {r["kind"]: r for r in rows if r["measure"] == measure}
        bars = [("unsteered", next(iter(of.values()))["reference"], None)]
        bars += [(kind, of[kind]["mean"], of[kind]) for kind in kinds if kind in of]
        for i, (kind, height, row) in enumerate(bars):
            x = place + (i - 1.5) * width
            axes.bar(x, height, width, color=_COLOURS[kind], label=kind if place == 0 else None)
            if row is not None and row["low"] is not None:
                low, high = (row["reference"] + row[end] for end in ("low", "high"))
                axes.plot([x, x], [low, high], color="black", linewidth=1.2)
    axes.set_xticks(range(len(measures)), [m.removesuffix(" (mm)").removeprefix("commanded ") for m in measures])
    axes.legend(fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _over_time(axes: Axes, motions: Sequence[EpisodeMotion], label: str, colour: str) -> None:
    if not motions:
        return
    length = max(len(motion.positions) for motion in motions)
    heights = np.full((len(motions), length), np.nan)
    for row, motion in zip(heights, motions, strict=True):
        row[: len(motion.positions)] = 1e3 * motion.positions[:, 2]
    running = np.isfinite(heights).sum(0)
    most = int(np.flatnonzero(running >= max(1, len(motions) // 2))[-1]) + 1
    axes.plot(np.nanmean(heights[:, :most], 0), color=colour, label=label)
    axes.grid(alpha=0.3)


def _is_draw(name: str, concept: str) -> bool:
    return "~" in name and name.startswith(f"{concept} ")


def _success(axes: Axes, rows: Sequence[Row]) -> None:
    names = ["unsteered", *(r["condition"] for r in rows)]
    values = [rows[0]["reference_success"], *(r["success"] for r in rows)]
    colours = [_COLOURS["unsteered"], *(_COLOURS[r["kind"]] for r in rows)]
    axes.barh(names[::-1], [100 * v for v in values[::-1]], color=colours[::-1])
    axes.set(xlim=(0, 100), title="success (%)")
    for place, row in enumerate(rows[::-1]):
        axes.text(2, place, f"non-action tokens {100 * row['non_action']:.1f} %", va="center", fontsize=8)


def _curves(axes: Axes, rows: Sequence[Row], value: str) -> None:
    for colour, size in zip(_SIZES, sorted({r["size"] for r in rows}), strict=False):
        own = sorted((r for r in rows if r["size"] == size), key=lambda r: r["coefficient"])
        x = [r["coefficient"] for r in own]
        axes.plot(x, [r[value] for r in own], marker="o", markersize=4, color=colour, label=f"{size} neurons")
        if all(r["low"] is not None for r in own):
            low, high = ([r["reference"] + r[end] for r in own] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(fontsize=8)


def _reference(axes: Axes, rows: Sequence[Row], measure: str) -> None:
    values = [r["reference"] for r in rows if r["measure"] == measure]
    if values:
        axes.axhline(float(np.mean(values)), color=_COLOURS["unsteered"], linestyle="--", linewidth=1)


def _shares(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    for one, value, label in zip(axes, ("success", "non_action"), ("success (%)", "non-action (%)"), strict=True):
        for colour, size in zip(_SIZES, sorted({r["size"] for r in rows}), strict=False):
            own = sorted((r for r in rows if r["size"] == size), key=lambda r: r["coefficient"])
            one.plot([r["coefficient"] for r in own], [100 * r[value] for r in own], marker="o", ms=3, color=colour)
        one.set(ylabel=label, ylim=(-5, 105))
        one.grid(alpha=0.3)
