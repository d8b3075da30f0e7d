"""Pictures from arrays. Nothing here knows of runs or episodes; every function returns PNG bytes.

forest   effects with intervals, one row a condition, one panel a quantity; random draws as pale dots
curves   quantities over time or over anything else, with bands
heat     a table of numbers as shades, for cluster size x coefficient and the like
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlasteer.launch.reporting.style import (
    ACCENT,
    CHANCE,
    INK,
    MUTED,
    PLAIN,
    RULE,
    WARN,
    WIDTH,
    direct_grid,
    new_axes,
    new_figure,
    styled,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Mark:
    """One point of a forest.

    Attributes:
        value: where; NaN draws nothing.
        low, high: its interval; NaN: none.
        chance: values of random draws beside it.
        reference: an absolute value to compare with, drawn as a bar across; NaN: none.
        void: no claim is made of it: drawn as a cross, out of the scale of the others.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    chance: Sequence[float] = ()
    reference: float = float("nan")
    void: bool = False

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Panel:
    """One quantity of a forest.

    Attributes:
        title: of the quantity; unit: below the axis.
        marks: one per row.
        zero: draw a line at 0, and pale what does not differ from it; False for absolute values.
        span: fixed ends of the axis.
    """

    title: str
    unit: str
    marks: Sequence[Mark]
    zero: bool = True
    span: tuple[float, float] | None = None


@styled
def forest(labels: Sequence[str], panels: Sequence[Panel]) -> bytes:
    """Effects of conditions: rows are `labels`, panels stand side by side and share the rows.

    A filled point has an interval that excludes 0, a hollow one has not, a cross makes no claim.
    """
    figure = new_figure(0.9 + 0.36 * max(len(labels), 2))
    (row,) = new_axes(figure, 1, len(panels), sharey=True)
    for axes, panel in zip(row, panels, strict=True):
        for y, mark in enumerate(panel.marks):
            _draw_mark(axes, y, mark, panel.zero)
        if panel.zero:
            axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.set_title(panel.title)
        axes.set_xlabel(panel.unit)
        axes.set_xlim(*(panel.span or _span(panel)))
        axes.spines["left"].set_visible(False)
        direct_grid(axes, "x")
        axes.locator_params(axis="x", nbins=3)
        for y in np.arange(len(labels) - 1) + 0.5:
            axes.axhline(y, color=RULE, linewidth=0.4, zorder=0)
    row[0].set_yticks(range(len(labels)), labels)
    row[0].tick_params(axis="y", labelcolor=INK)
    for axes in row:
        axes.tick_params(axis="y", length=0)
    row[0].set_ylim(len(labels) - 0.5, -0.5)
    return to_png(figure)


def _draw_mark(axes: Axes, y: float, mark: Mark, zero: bool) -> None:
    if len(mark.chance):
        axes.scatter(mark.chance, [y + 0.24] * len(mark.chance), s=16, color=CHANCE, alpha=0.75, linewidths=0, zorder=2)
    if np.isfinite(mark.reference):
        axes.plot([mark.reference] * 2, [y - 0.28, y + 0.28], color=PLAIN, linewidth=2, zorder=2)
    if not np.isfinite(mark.value):
        return
    if mark.void:
        axes.scatter([mark.value], [y], s=30, marker="x", color=WARN, linewidths=1.3, zorder=3, clip_on=False)
        return
    if np.isfinite(mark.low) and np.isfinite(mark.high):
        axes.plot([mark.low, mark.high], [y, y], color=ACCENT, linewidth=1.6, zorder=3)
    filled = ACCENT if mark.sure or not zero else "white"
    axes.scatter([mark.value], [y], s=28, color=filled, edgecolors=ACCENT, linewidths=1.4, zorder=4, clip_on=False)


def _span(panel: Panel) -> tuple[float, float]:
    """Ends that hold everything; points without a claim only where nothing else is."""
    claimed = [m for m in panel.marks if not m.void] or list(panel.marks)
    values = [v for m in claimed for v in (m.value, m.low, m.high, m.reference, *m.chance)]
    values = [v for v in values if np.isfinite(v)] + ([0.0] if panel.zero else [])
    if not values:
        return -1.0, 1.0
    low, high = min(values), max(values)
    margin = 0.12 * (high - low) or max(0.1 * abs(high), 1.0)
    return low - margin, high + margin


@dataclass(frozen=True)
class Curve:
    """One line of `curves`.

    Attributes:
        label: for the legend; "" leaves it out.
        x, y: [n]; NaN breaks the line.
        low, high: [n] band around it, or None.
        colour: of the line.
        points: mark every value.
        chance: (x, y) of random draws, as pale dots.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    colour: str = ACCENT
    points: bool = False
    chance: tuple[ArrayLike, ArrayLike] | None = None


@dataclass(frozen=True)
class CurvePanel:
    """One panel of `curves`: title, names of the axes, the lines, and whether 0 is drawn as a line."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    zero: bool = False
    ticks: Sequence[float] = field(default_factory=tuple)


@styled
def curves(panels: Sequence[CurvePanel], *, height: float = 2.6) -> bytes:
    """Panels of lines side by side: dose and response, a quantity over depth, over time, ..."""
    figure = new_figure(height, width=WIDTH if len(panels) > 1 else 0.62 * WIDTH)
    (row,) = new_axes(figure, 1, len(panels))
    for axes, panel in zip(row, panels, strict=True):
        if panel.zero:
            axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        for curve in panel.curves:
            if curve.chance is not None:
                axes.scatter(*curve.chance, s=14, color=CHANCE, alpha=0.75, linewidths=0, zorder=1)
            if curve.low is not None and curve.high is not None:
                axes.fill_between(curve.x, curve.low, curve.high, color=curve.colour, alpha=0.15, linewidth=0)  # type: ignore[arg-type]
            axes.plot(
                np.asarray(curve.x),
                np.asarray(curve.y),
                color=curve.colour,
                linewidth=1.7,
                label=curve.label or None,
                marker="o" if curve.points else None,
                markersize=4,
            )
        axes.set_title(panel.title)
        axes.set_xlabel(panel.x)
        axes.set_ylabel(panel.y)
        if len(panel.ticks):
            axes.set_xticks(list(panel.ticks), [f"{tick:g}" for tick in panel.ticks])
        direct_grid(axes)
        if sum(bool(curve.label) for curve in panel.curves) > 1:
            axes.legend(loc="best")
    return to_png(figure)


@styled
def heat(
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    x: str,
    y: str,
    notes: Sequence[Sequence[str]] | None = None,
) -> bytes:
    """A table of effects as shades: blue above 0, brown below, white at 0, the number written in every cell.

    Args:
        values: [rows, columns]; NaN leaves a cell empty.
        rows, columns: names along the sides.
        title: with the unit; x, y: what the columns and the rows are.
        notes: [rows][columns] a second line in each cell: success, say.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("effects", ["#a3561b", "#f0d9c4", "#ffffff", "#c3dfec", "#0b6e99"])
    figure = new_figure(0.9 + 0.46 * len(rows), width=min(WIDTH, 1.6 + 0.95 * len(columns)))
    axes = new_axes(figure)[0][0]
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    axes.imshow(values, cmap=shades, vmin=-most, vmax=most, aspect="auto")
    for i, j in np.ndindex(*values.shape):
        if np.isfinite(values[i, j]):
            text = f"{values[i, j]:+.3g}" + (f"\n{notes[i][j]}" if notes else "")
            strong = abs(values[i, j]) > 0.7 * most
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if strong else INK)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title)
    for side in axes.spines.values():
        side.set_visible(False)
    return to_png(figure)
