"""Pictures of recorded motion: speed, height and the knob values under them, on one time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlasteer.launch.reporting.style import (
    KNOB,
    MUTED,
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

Series = NDArray[np.float64]
MOST_LINES = 24
"""Episodes of a condition that are drawn one by one; of more, the middle 80 % are a band."""
_KNOB_COLOURS = (KNOB, "#6b7f2a", "#7a4b8b", "#1f7a6f", "#8a6d1d", "#9c3d54")


@dataclass(frozen=True)
class Track:
    """One episode, ready to be drawn.

    Attributes:
        time_s, speed, height: [n] s, mm/s (NaN at the last step), mm.
        knobs: name -> [n] applied values, NaN is off.
        setpoints: name -> [n] what the source asked for, where that is another thing.
        marks_s: times that somebody marked.
    """

    time_s: Series
    speed: Series
    height: Series
    knobs: Mapping[str, Series] = field(default_factory=dict)
    setpoints: Mapping[str, Series] = field(default_factory=dict)
    marks_s: Sequence[float] = ()


@dataclass(frozen=True)
class Group:
    """Episodes of one condition.

    Attributes:
        label: for the legend.
        colour: of its lines.
        tracks: the episodes.
        lines: draw single episodes, too, and not the mean only.
    """

    label: str
    colour: str
    tracks: Sequence[Track]
    lines: bool = True


@styled
def motion_over_time(groups: Sequence[Group], knobs: Sequence[str], rate_hz: float) -> bytes:
    """Conditions over each other: thin lines are episodes, thick ones their mean while at least half of them run.

    Args:
        groups: those drawn last are on top.
        knobs: features whose values are drawn below; each condition's in its own colour.
        rate_hz: control rate, by which means are taken step by step.
    """
    figure = new_figure(3.5 + 0.42 * bool(knobs), width=WIDTH)
    heights = [2.2, 2.2, *([0.7] if knobs else [])]
    panes = [row[0] for row in new_axes(figure, len(heights), 1, sharex=True, height_ratios=heights)]
    for axes, name, unit in zip(panes[:2], ("speed", "height"), ("mm/s", "mm"), strict=True):
        for group in groups:
            series = [getattr(track, name) for track in group.tracks]
            _bundle(axes, group, series, rate_hz)
        axes.set_ylabel(f"{name} ({unit})")
        direct_grid(axes)
    if knobs:
        axes = panes[2]
        for group in groups:
            for name in knobs:
                known = [t.knobs[name] for t in group.tracks if name in t.knobs and np.isfinite(t.knobs[name]).any()]
                if known:
                    longest = max(known, key=len)
                    time = np.arange(len(longest)) / rate_hz
                    axes.step(time, longest, where="post", color=group.colour, linewidth=1.8)
        axes.set_ylabel("\n".join(knobs), rotation=0, ha="right", va="center", color=KNOB)
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), 1.25 * max(high, 0.1))
        direct_grid(axes)
        axes.locator_params(axis="y", nbins=3)
    panes[-1].set_xlabel("time (s)")
    panes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2, handlelength=1.6)
    panes[0].set_xlim(left=0)
    panes[0].set_ylim(bottom=0)
    return to_png(figure)


def _bundle(axes: Axes, group: Group, series: Sequence[Series], rate_hz: float) -> None:
    table = np.full((len(series), max((len(values) for values in series), default=0)), np.nan)
    for i, values in enumerate(series):
        table[i, : len(values)] = values
    time = np.arange(table.shape[1]) / rate_hz
    if group.lines and len(series) <= MOST_LINES:
        for row in table:
            axes.plot(time, row, color=group.colour, linewidth=0.6, alpha=0.35)
    shown = np.isfinite(table).sum(0) * 2 >= max(len(series), 1)
    if not shown.any():
        return
    mean = np.nanmean(table[:, shown], axis=0)
    if group.lines and len(series) > MOST_LINES:
        low, high = np.nanpercentile(table[:, shown], [10, 90], axis=0)
        axes.fill_between(time[shown], low, high, color=group.colour, alpha=0.15, linewidth=0)
    axes.plot(time[shown], mean, color=group.colour, linewidth=2, label=group.label)


@styled
def session(track: Track, flags: Mapping[str, Series], title: str = "") -> bytes:
    """One episode whose knobs were turned: speed, height, one pane of values per knob, and spans that were flagged.

    Args:
        track: the episode; a gap in a knob's line means that it was off.
        flags: name -> [n]; shaded where not 0.
        title: above.
    """
    names = list(track.knobs)
    heights = [2.0, 2.0, *[0.8] * len(names)]
    figure = new_figure(0.7 + 0.62 * sum(heights), width=WIDTH)
    panes = [row[0] for row in new_axes(figure, len(heights), 1, sharex=True, height_ratios=heights)]
    for axes, values, label in zip(panes, (track.speed, track.height), ("speed (mm/s)", "height (mm)"), strict=False):
        axes.plot(track.time_s, values, color="#9fb9c6", linewidth=0.7)
        axes.plot(track.time_s, smoothed(track.time_s, values), color="#0b6e99", linewidth=1.6)
        axes.set_ylabel(label)
        direct_grid(axes)
    for i, (axes, name) in enumerate(zip(panes[2:], names, strict=True)):
        colour = _KNOB_COLOURS[i % len(_KNOB_COLOURS)]
        values = track.knobs[name]
        if (wanted := track.setpoints.get(name)) is not None:
            axes.step(track.time_s, wanted, where="post", color=colour, linewidth=0.8, linestyle=(0, (1, 1.5)))
            values = np.concatenate([values, wanted])
        axes.step(track.time_s, track.knobs[name], where="post", color=colour, linewidth=1.6)
        known = values[np.isfinite(values)]
        low, high = (min(0.0, known.min()), max(known.max(), 0.1)) if len(known) else (0.0, 1.0)
        axes.set_ylim(low - 0.1 * (high - low), high + 0.15 * (high - low))
        axes.set_ylabel(name, rotation=0, ha="right", va="center", color=colour)
        axes.locator_params(axis="y", nbins=3)
        direct_grid(axes)
    for axes in panes:
        for mark in track.marks_s:
            axes.axvline(mark, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        for values in flags.values():
            for start, stop in spans(values):
                end = track.time_s[min(stop, len(track.time_s) - 1)]
                axes.axvspan(track.time_s[start], end, color=WARN, alpha=0.10, linewidth=0)
    panes[0].set_title(title)
    panes[-1].set_xlabel("time (s)")
    panes[0].set_ylim(bottom=0)
    for axes in panes:
        axes.spines["bottom"].set_color(RULE)
        axes.yaxis.label.set_color(MUTED if axes in panes[:2] else axes.yaxis.label.get_color())
    return to_png(figure)


def smoothed(time_s: Series, values: Series, *, seconds: float = 0.5) -> Series:
    """Mean over a centred window of so many seconds; NaN where nothing is known."""
    if len(values) < 2:
        return values
    width = max(1, round(seconds / max(float(np.median(np.diff(time_s))), 1e-6)))
    known = np.isfinite(values)
    kernel = np.ones(width)
    if width >= len(values):
        return np.full_like(values, values[known].mean() if known.any() else np.nan)
    total = np.convolve(np.where(known, values, 0.0), kernel, "same")
    count = np.convolve(known.astype(float), kernel, "same")
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def spans(values: Series) -> list[tuple[int, int]]:
    """Start and end (exclusive) of every stretch that is known and not 0."""
    on = np.concatenate([[False], np.isfinite(values) & (values != 0), [False]])
    edges = np.flatnonzero(on[1:] != on[:-1])
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
