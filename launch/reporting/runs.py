"""What was run, and every number, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlasteer.analysis import QUANTITIES, AnalysedRun, Effect, Level, Summary
from vlasteer.analysis.effects import EQUAL, WHOLE
from vlasteer.analysis.tables import episode_rows
from vlasteer.launch.reporting import page
from vlasteer.launch.reporting.page import Column, Html
from vlasteer.launch.reporting.wording import day, digits_of, interval, number

_KEY_VERSIONS = ("vlasteer", "python", "torch", "transformers", "numpy", "mujoco", "hf-libero", "robosuite", "ur_rtde")
_TOLD = ("command", "checkpoint_hash", "env", "policy")
_MOST_ROWS = 400
"""Episodes that are listed in the page; all of them are in episodes.csv."""


def description(run: AnalysedRun) -> dict[str, str]:
    """What was run, name -> value: policy, plan, seeds, versions; what is unset or nested is left out."""
    config, last = run.config, run.starts[-1] if run.starts else {}
    facts: Mapping[str, Any] = last.get("facts") or {}
    versions: Mapping[str, str] = last.get("versions") or {}
    items = {
        "command": f"vlasteer {config.get('command', '?')}",
        "policy": run.policy,
        "checkpoint hash": str(config.get("checkpoint_hash") or "")[:16],
        "world": run.world,
        "control rate": f"{run.layout.action_spec.rate_hz:g} Hz",
        "cameras": ", ".join(f"{name} {h}×{w}" for name, (h, w) in run.layout.cameras.items()),
        **{key: _short(value) for key, value in config.items() if _plain(value) and key not in _TOLD},
        **{key: _short(value) for key, value in facts.items() if _plain(value) and key not in _TOLD},
        **{f"world {key}": _short(v) for key, v in (facts.get("world") or {}).items() if _plain(v) and key != "world"},
        "started": (day(run.starts[0].get("started")) if run.starts else "") + _times(len(run.starts)),
        "versions": ", ".join(f"{name} {versions[name]}" for name in _KEY_VERSIONS if name in versions),
        "folder": str(run.path),
    }
    return {key: value for key, value in items.items() if value}


def features_of(run: AnalysedRun) -> Html:
    """The features that were steered: neurons, and the words that they read as."""
    return page.join(*(_feature(run, name) for name in run.features_used))


def _feature(run: AnalysedRun, name: str) -> Html:
    """The neurons of a feature, each with the tokens that its value vector reads as."""
    document: Mapping[str, Any] = run.features.get(name) or {}
    evidence: Mapping[str, Any] = document.get("evidence") or {}
    by_neuron = {str(item.get("neuron")): item for item in evidence.get("neurons") or () if isinstance(item, dict)}
    term = next((t for t in run.config.get("steering") or () if t.get("feature") == name), {})
    neurons = [str(neuron) for neuron in term.get("neurons") or ()]
    rows = []
    for neuron in neurons:
        found = by_neuron.get(neuron, {})
        tokens = [str(token[0]).replace("▁", " ").strip() for token in found.get("tokens") or ()]
        hits = {str(hit).replace("▁", " ").strip() for hit in found.get("hits") or ()}
        shown = [page.strong(token) if token in hits else page.text(token) for token in tokens]
        rows.append([neuron, Html(", ".join(page.text(item) for item in shown) or "–")])
    method = f"found by {evidence['method']}" if "method" in evidence else "no evidence recorded"
    turned = f"coefficient {term['coefficient']}, " if term.get("coefficient") not in (None, "None") else ""
    how = f"{term.get('operator', '?')}, {turned}scope {term.get('scope', '?')}"
    return page.folded(
        f"Feature {name}: {len(neurons)} neurons, {how}; {method}",
        page.table(
            [Column("neuron (stream:layer:index)", False), Column("reads as (words of the concept in bold)", False)],
            rows,
            kind="small prose",
        ),
    )


def numbers(effects: Sequence[Effect], summaries: Sequence[Summary], condition: str, void: bool) -> Html:
    """Every quantity of one condition beside its reference, over whole episodes and at equal length.

    Args:
        effects, summaries: of the run.
        condition: which; its means alone where the whole run has no effects.
        void: nothing is claimed of it.
    """
    own = [e for e in effects if e.condition == condition and e.draw is None]
    if not own:
        return Html("") if effects else _means(summaries, condition)
    rows = []
    for key, quantity in QUANTITIES.items():
        by_counting = {e.counting: e for e in own if e.quantity == key}
        if not by_counting:
            continue
        rows.append([quantity.label, *(cell for way in (WHOLE, EQUAL) for cell in _cells(by_counting.get(way), void))])
    ways = [Column(heading) for heading in ("steered", "unsteered", "difference", "95 % interval")]
    equal = [Column(heading) for heading in ("steered", "unsteered", "difference", "95 % interval")]
    over = [("", 1), ("whole episodes", 4), ("at equal length", 4)]
    claim = " Over-steered: nothing is claimed." if void else ""
    heading = f"{condition}: {own[0].pairs} pairs.{claim}"
    return page.table([Column("quantity", False), *ways, *equal], rows, caption=heading, kind="small", groups=over)


def _cells(effect: Effect | None, void: bool) -> list[str]:
    if effect is None:
        return ["", "", "", ""]
    digits = digits_of(effect.quantity)
    difference = number(effect.difference, digits, sign=True)
    return [
        number(effect.mean, digits),
        number(effect.reference, digits),
        page.strong(difference) if effect.sure and not void else difference,
        interval(effect.low, effect.high, digits),
    ]


def _means(summaries: Sequence[Summary], condition: str) -> Html:
    found = next((s for s in summaries if s.condition == condition and s.draw is None), None)
    if found is None or not found.means:
        return Html("")
    rows = [[QUANTITIES[k].label, number(v, digits_of(k))] for k, v in found.means.items()]
    return page.table(
        [Column("quantity", False), Column("mean over episodes")],
        rows,
        caption=f"{condition}: {found.measured} episode{'s' * (found.measured != 1)}",
        kind="small",
    )


def success_table(rows: Sequence[tuple[str, Summary]]) -> Html:
    """Success, length, motion and tokens of every condition, beside each other."""
    keys = ("steps", "step_length_mm", "path_length_mm", "peak_height_mm", "lowest_height_mm")
    known = [key for key in keys if any(key in summary.means for _, summary in rows)]
    nan = float("nan")
    return page.table(
        [
            Column("condition", False),
            Column("success"),
            Column(Html("95 %<br>interval")),
            *(
                Column(Html(f"{QUANTITIES[key].name.replace(' ', '<br>')}<br>({QUANTITIES[key].unit})"))
                for key in known
            ),
            Column(Html("non-action<br>tokens<br>(%)")),
        ],
        [
            [
                label,
                f"{summary.successes} of {summary.episodes}" if summary.episodes else "none finished",
                f"{number(summary.low, 0)}–{number(summary.high, 0)} %" if summary.episodes else "–",
                *(number(summary.means.get(key, nan)) for key in known),
                number(summary.non_action_tokens, 2),
            ]
            for label, summary in rows
        ],
    )


def level_table(levels: Sequence[Level]) -> Html:
    """Motion at each value of a turned knob."""
    return page.table(
        [
            Column("knob", False),
            Column("value"),
            Column("time (s)"),
            Column("stretches"),
            Column("mean speed (mm/s)"),
            Column("95 % interval"),
            Column("mean height (mm)"),
        ],
        [
            [
                level.knob,
                "off" if level.value != level.value else f"{level.value:.3g}",
                number(level.seconds),
                str(level.stretches),
                number(level.speed_mm_s),
                f"{number(level.speed_low)} to {number(level.speed_high)}"
                if level.speed_low == level.speed_low
                else "–",
                number(level.height_mm),
            ]
            for level in levels
        ],
    )


def episode_table(run: AnalysedRun) -> Html:
    """One row per episode, folded away."""
    rows = episode_rows(run.name, run.episodes)
    keys = [
        key
        for key in (
            "steps",
            "path_length_mm",
            "mean_speed_mm_s",
            "peak_speed_mm_s",
            "peak_height_mm",
            "lowest_height_mm",
        )
        if any(row[key] == row[key] for row in rows)
    ]
    columns = [Column(name, False) for name in ("task", "start", "condition", "outcome")]
    more = f"; the first {_MOST_ROWS} of {len(rows)}, all in episodes.csv" if len(rows) > _MOST_ROWS else ""
    return page.folded(
        f"All {len(rows)} episodes{more}" if len(rows) > 1 else "The episode in numbers",
        page.table(
            [*columns, *(Column(QUANTITIES[key].label) for key in keys)],
            [
                [
                    f"{row['task']}: {row['instruction']}",
                    str(row["start"]),
                    row["condition"] + (f" (draw {row['draw']})" if row["draw"] is not None else ""),
                    "interrupted" if row["interrupted"] else row["outcome"],
                    *(number(row[key], digits_of(key) if key != "steps" else 0) for key in keys),
                ]
                for row in rows[:_MOST_ROWS]
            ],
            kind="small prose",
        ),
    )


def _times(count: int) -> str:
    return f", and resumed {count - 1} times" if count > 2 else ", and resumed once" if count == 2 else ""


def _plain(value: object) -> bool:
    return value not in (None, False, "", [], {}) and not isinstance(value, dict) and not _of_dicts(value)


def _of_dicts(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _short(value: object) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown if len(shown) <= 300 else shown[:297] + "..."
