"""Plots of the last half minute: action, tool speed, height, and the knob values under them on the same time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from vlasteer.knobs import Knob, KnobKind, KnobReading
from vlasteer.launch.page.console import COLORS
from vlasteer.launch.page.history import History, Rows
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec

if TYPE_CHECKING:
    import viser

WINDOW_S = 30.0
SPACING_S = 0.05
ACTIONS = 8
"""Numbers of an action that are kept and drawn at most."""
_CAPACITY = round(WINDOW_S / SPACING_S) + 2
_AXIS_WIDTH = 46
_HEIGHT = 88
_NOTHING = (np.array([-WINDOW_S, 0.0]), np.zeros(2))


class Plots:
    """Four plots, one below the other. `add` may be called from any thread, the rest from one.

    Args:
        server: where they are drawn, in the current container.
        knobs: of the board.
    """

    def __init__(self, server: viser.ViserServer, knobs: Mapping[str, Knob]) -> None:
        self._steering = [k.name for k in knobs.values() if k.kind in (KnobKind.FEATURE, KnobKind.GROUP)]
        self._speed = next((k.name for k in knobs.values() if k.kind is KnobKind.SPEED), None)
        self._shown = [name for name in knobs if name in self._steering or name == self._speed]
        self._rest = [knobs[name].rest for name in self._shown]
        color = {name: COLORS[i % len(COLORS)] for i, name in enumerate(knobs)}
        self.history = History(ACTIONS + 2 + 2 * len(self._shown), _CAPACITY, SPACING_S)
        self._server = server
        self._names: tuple[str, ...] = ()
        self._unit = ""
        self._legend = server.gui.add_html(_legend("action", "", ()))
        self._action = self._plot([("", "#0000", False)], least=(-1.0, 1.0))
        server.gui.add_html(_legend("tool speed", "m/s", ()))
        self._tool_speed = self._plot([("tool speed", COLORS[0], False)], least=(0.0, 0.05))
        server.gui.add_html(_legend("tool height", "m", ()))
        self._height = self._plot([("height", COLORS[2], False)])
        server.gui.add_html(_legend("knobs", "dashed: setpoint", [(name, color[name]) for name in self._shown]))
        lines = [(name, color[name], dashed) for name in self._shown for dashed in (False, True)]
        self._knobs = self._plot(lines or [("", "#0000", False)], least=(-1.0, 1.0), bottom=True)

    def describe_actions(self, spec: ActionSpec) -> None:
        """The actions have these names and this unit."""
        self._names, self._unit = tuple(spec.names[:ACTIONS]), action_unit(spec)

    def default_names(self, count: int) -> None:
        """Names for that many numbers of an action, should nobody have told others."""
        if not self._names:
            self._names = EE_NAMES if count == len(EE_NAMES) else tuple(str(i) for i in range(min(count, ACTIONS)))

    def add(
        self,
        time_s: float,
        action: Rows | None,
        speed: float,
        height: float,
        reading: KnobReading,
    ) -> None:
        """Append one moment. What is off is drawn where it rests; what is NaN stays as it was."""
        row = np.full(ACTIONS + 2 + 2 * len(self._shown), np.nan)
        if action is not None:
            row[: min(len(action), ACTIONS)] = action[:ACTIONS]
        row[ACTIONS : ACTIONS + 2] = speed, height
        for i, name in enumerate(self._shown):
            setpoint = reading.setpoints.get(name)
            value = reading.speed if name == self._speed else reading.values.get(name, setpoint)
            for j, found in enumerate((value, setpoint)):
                row[ACTIONS + 2 + 2 * i + j] = self._rest[i] if found is None else found
        self.history.add(time_s, row)

    def draw(self, now: float) -> None:
        """Show what there is."""
        if self._names and len(self._action.series) != len(self._names) + 1:
            named = list(zip(self._names, COLORS, strict=False))
            self._legend.content = _legend("action", self._unit, named)
            self._replace_action([(name, color, False) for name, color in named])
        rows = self.history.since(now - WINDOW_S)
        if len(rows) < 2:
            return
        times, rows = rows[:, 0] - now, _filled(rows)
        self._action.data = (times, *(rows[:, 1 + i] for i in range(max(len(self._names), 1))))
        self._tool_speed.data = (times, rows[:, 1 + ACTIONS])
        self._height.data = (times, rows[:, 2 + ACTIONS].round(3))
        if self._shown:
            self._knobs.data = (times, *rows[:, 3 + ACTIONS :].T)

    def _replace_action(self, lines: Sequence[tuple[str, str, bool]]) -> None:
        with self._server.atomic():
            self._action.data = (_NOTHING[0], *(_NOTHING[1] for _ in lines))
            self._action.series = _series(lines)

    def _plot(
        self,
        lines: Sequence[tuple[str, str, bool]],
        *,
        least: tuple[float, float] | None = None,
        bottom: bool = False,
    ) -> Any:
        """A plot whose height shows at least that range, so that noise around a constant does not fill it."""
        times: dict[str, Any] = {"size": 26 if bottom else 8, "space": 40}
        if not bottom:
            times |= {"values": [], "ticks": {"show": False}}
        scales: dict[str, Any] = {"x": {"time": False, "range": (-WINDOW_S, 0.0)}}
        if least is not None:
            low, high = ({"pad": 0.1, "soft": end, "mode": 1} for end in least)
            scales["y"] = {"range": {"min": low, "max": high}}
        if any(name == self._speed for name, _, _ in lines):
            scales["speed"] = {"range": (0.0, 1.05)}
        return self._server.gui.add_uplot(
            data=(_NOTHING[0], *(_NOTHING[1] for _ in lines)),
            series=_series(lines, self._speed),
            scales=scales,
            axes=(times, {"size": _AXIS_WIDTH, "space": 24}),  # type: ignore[arg-type]
            legend={"show": False},  # type: ignore[arg-type]
            cursor={"sync": {"key": "vlasteer"}, "drag": {"x": False, "y": False}},  # type: ignore[arg-type]
            height=_HEIGHT + (18 if bottom else 0),
            padding=(8, 12, 0, 0),
        )


def action_unit(spec: ActionSpec) -> str:
    """What the numbers of an action are measured in, for people."""
    if any(scale != 1.0 for scale in spec.scale):
        return "full scale"
    units = {ActionKind.EE_DELTA: "m, rad", ActionKind.JOINT_TARGET: "rad", ActionKind.JOINT_VELOCITY: "rad/s"}
    return units.get(spec.kind, "")


def _filled(rows: Rows) -> Rows:
    """Without NaN, which uPlot can neither scale nor leave out: the value before it, or 0 where there is none."""
    missing = np.isnan(rows)
    last = np.maximum.accumulate(np.where(missing, 0, np.arange(len(rows))[:, None]), axis=0)
    return np.nan_to_num(np.take_along_axis(rows, last, axis=0), nan=0.0)


def _series(lines: Sequence[tuple[str, str, bool]], own_scale: str | None = None) -> Any:
    return (
        {"label": "s"},
        *(
            {
                "label": name,
                "stroke": color,
                "width": 1 if dashed else 1.6,
                "points": {"show": False},
                **({"dash": (4, 4)} if dashed else {}),
                **({"scale": "speed"} if name and name == own_scale else {}),
            }
            for name, color, dashed in lines
        ),
    )


def _legend(title: str, unit: str, lines: Sequence[tuple[str, str]]) -> str:
    named = "".join(f'<span style="--color:{color}">{escape(name)}</span>' for name, color in lines)
    return f'<div class="vl-plot"><b>{escape(title)}</b>{named}<i>{escape(unit)}</i></div>'
