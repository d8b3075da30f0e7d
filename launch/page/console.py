"""The operator's console: hold-to-run, stop, lamps, knobs, instruction, recording. Its HTML, and the state it shows.

The HTML is sent once. What changes goes through `OperatorDesk` as JSON, and static/console.js puts it in its place, so
that a knob under a finger is never redrawn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlasteer.errors import MissingDependencyError
from vlasteer.knobs import BoardState, Knob, KnobKind
from vlasteer.launch.page.lamps import Lamp

if TYPE_CHECKING:
    from vlasteer.live import LiveStatus

COLORS = ("#4dabf7", "#ffa94d", "#69db7c", "#da77f2", "#ff8787", "#ffe066", "#3bc9db", "#a9a9b3")
"""Of lines and knobs, in order; readable on dark grey."""
_STATIC = resources.files("vlasteer.launch.page") / "static"


def index_html() -> bytes:
    """viser's page with the console's script and style.

    Raises:
        MissingDependencyError: viser is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingDependencyError.for_extra("viser", "page") from error

    page = (Path(viser.__file__).parent / "client" / "build" / "index.html").read_text(encoding="utf-8")
    style, script = (_STATIC.joinpath(f"console.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    head = f"<style>{style}</style><script>{script}</script></head>"
    before, found, after = page.partition("</head>")
    return (before + (head if found else "") + after).encode()


def console_html(title: str, knobs: Mapping[str, Knob], packs: Sequence[str], *, dry_run: bool) -> str:
    """The console. Attributes `data-vl-*` are what the script (and the tests) go by."""
    badge = '<span class="vl-badge" title="Nothing that moves is sent">dry run</span>' if dry_run else ""
    choice = ""
    if len(packs) > 1:
        options = "".join(f"<option>{escape(name)}</option>" for name in packs)
        choice = f'<label class="vl-row">feature pack <select data-vl-pack>{options}</select></label>'
    rows = "".join(_knob(knob, COLORS[i % len(COLORS)]) for i, knob in enumerate(knobs.values()))
    return f"""<div class="vl" data-vl-console>
<header><b>{escape(title)}</b>{badge}\
<span class="vl-phase" data-vl="phase" data-vl-level="phase">connecting</span></header>
<p class="vl-task" data-vl="task"></p>
<div class="vl-run">
<button class="vl-hold" data-vl-hold title="Press and hold; also the space bar">
<b data-vl-hold-text>Hold to run</b><small data-vl-hold-hint>press and hold, or the space bar</small></button>
<button class="vl-stop" data-vl-stop title="End the episode; also Escape">Stop</button>
</div>
<p class="vl-note" data-vl="note"></p>
<div class="vl-lamps" data-vl-lamps></div>
<h3>Knobs <small>dot: setpoint, bar: applied</small></h3>{choice}{rows}
<h3>Instruction</h3>
<form class="vl-say" data-vl-say><textarea rows="2" maxlength="500" spellcheck="false"></textarea>
<button type="submit" title="From the policy's next answer on">Say</button></form>
<h3>Recording <small data-vl="recording"></small></h3>
<div class="vl-row"><button data-vl-record>Stop recording</button><button data-vl-mark>Mark</button></div>
</div>"""


def _knob(knob: Knob, color: str) -> str:
    steers = knob.kind in (KnobKind.FEATURE, KnobKind.GROUP)
    rest = knob.rest if steers or knob.default is None else knob.default
    place = 100 * (rest - knob.low) / (knob.high - knob.low)
    label, switch = ("unsteered", "off") if steers else ("default", "reset")
    step = 1.0 if knob.kind is KnobKind.REPLAN else 10 ** math.floor(math.log10((knob.high - knob.low) / 100))
    unit = {KnobKind.SPEED: "× speed", KnobKind.REPLAN: "actions"}.get(knob.kind, "")
    name = escape(knob.name, quote=True)
    edge = " vl-edge-low" if place < 12 else " vl-edge-high" if place > 88 else ""
    return f"""<div class="vl-knob" style="--color:{color}" data-vl-knob="{name}" data-low="{knob.low}" \
data-high="{knob.high}" data-rest="{rest}" data-step="{step}" data-switch="{switch}">
<div class="vl-knob-head"><b>{name}</b><span><span data-vl="applied:{name}">off</span>\
<i data-vl="setpoint:{name}"></i>{unit}</span><button data-vl-switch="{name}">{switch}</button></div>
<div class="vl-track"><span class="vl-mark{edge}" style="left:{place:.2f}%"><em>{label}</em></span>
<span class="vl-applied"></span>
<input type="range" min="{knob.low}" max="{knob.high}" step="{step}" value="{rest}" data-vl-slider="{name}" \
aria-label="{name}"></div>
<div class="vl-ends"><span>{knob.low:g}</span><span>{knob.high:g}</span></div></div>"""


def state_of(
    status: LiveStatus | None,
    board: BoardState,
    lamps: Sequence[Lamp],
    *,
    trouble: str,
    task: str,
    pack: str,
    hidden: Sequence[str],
    tabs: int,
) -> str:
    """JSON of all that changes in the console."""
    phase, level = _phase(status, board)
    texts = {
        "phase": phase,
        "task": task,
        "note": trouble or _note(status, board),
        "recording": _recording(status, board),
    }
    knobs: dict[str, Any] = {}
    for name, knob in board.knobs.items():
        texts[f"applied:{name}"] = number(knob.value)
        differs = knob.setpoint is not None and number(knob.setpoint) != number(knob.value)
        texts[f"setpoint:{name}"] = f"→ {number(knob.setpoint)}" if differs else ""
        by = f"{knob.source} lost" if knob.stale else "" if knob.source in ("", "page") else knob.source
        knobs[name] = {"setpoint": knob.setpoint, "value": knob.value, "by": by, "stale": knob.stale}
    return json.dumps(
        {
            "texts": texts,
            "levels": {"phase": level},
            "lamps": [[lamp.label, lamp.text, lamp.level.value, lamp.hint] for lamp in lamps],
            "knobs": knobs,
            "hidden": list(hidden),
            "instruction": board.instruction or task,
            "recording": board.recording,
            "stopped": board.stop,
            "holder": board.holder,
            "pack": pack,
            "tabs": tabs,
        },
        allow_nan=False,
        separators=(",", ":"),
    )


def number(value: float | None) -> str:
    """A knob's value for people."""
    if value is None or not math.isfinite(value):
        return "off"
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.1f}".rstrip("0").rstrip(".")


def _phase(status: LiveStatus | None, board: BoardState) -> tuple[str, str]:
    if status is None:
        return "starting", "off"
    if status.phase == "ended":
        return f"ended: {status.outcome.value}", "ok" if status.outcome.value == "success" else "off"
    if board.stop:
        return "stopped", "bad"
    return status.phase, {"running": "ok", "paused": "warn"}.get(status.phase, "off")


def _note(status: LiveStatus | None, board: BoardState) -> str:
    robot = None if status is None or status.robot is None else status.robot.reason
    return robot or ("" if status is None else status.note) or board.note


def _recording(status: LiveStatus | None, board: BoardState) -> str:
    if not board.recording:
        return "off"
    return "on" if status is None or status.step < 0 else f"on, step {status.step}"
