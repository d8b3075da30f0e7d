"""The battery's report: one page without scripts, with figures, tables and what may not be read into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlasteer.launch.reporting import page
from vlasteer.launch.studies.published import beside_published, is_published
from vlasteer.studies.paper import AGAIN, Grid

Row = Mapping[str, Any]
_FIGURES = {
    "height.png": "Low and high transport, closed loop: heights by condition with 95 % intervals (of the random draws "
    "the range of their means), the mean height over time, and success.",
    "speed.png": "Slow and fast transport, counterfactual: what the same recorded observations are answered with. "
    "Intervals are over episodes.",
    "fast_and_slow.png": "Clusters for fast and slow, closed loop: commanded step over the coefficient at equal "
    "length, the unsteered one dashed; success and non-action tokens below.",
    "up_by_depth.png": "Clusters for up in the early, late and all layers, closed loop: every axis, success, tokens.",
}
_SHOWN = {
    "height": ("lowest height (mm)", "mean height (mm)", "peak height (mm)", "mean step (mm)"),
    "speed": (
        "commanded step (mm)",
        *(f"commanded |d{axis}| (mm)" for axis in "xyz"),
        "commanded dz (mm)",
    ),
    "fast and slow": ("commanded step (mm)", "mean step (mm)"),
    "up by depth": ("commanded dz (mm)", *(f"commanded |d{axis}| (mm)" for axis in "xyz")),
}
_TITLES = {
    "height": "Low and high transport, closed loop",
    "speed": "Slow and fast transport, counterfactual",
    "fast and slow": "Fast and slow over cluster size and coefficient",
    "up by depth": "Up over depth, cluster size and coefficient",
}
_MOST_FOREIGN = 0.01


def report(
    *, policy: str, world: str, grid: Grid, seed: int, rows: Sequence[Row], missing: Sequence[str], figures: Path
) -> str:
    """The page.

    Args:
        policy, world: names.
        grid: what was run.
        seed: of episodes and draws.
        rows: of both kinds of study.
        missing: features that were not found.
        figures: folder with the PNG files.
    """
    parts = [_how_to_read(rows, missing)]
    if is_published(policy):
        columns = [page.Column("what", False), page.Column("published", False), page.Column("measured here", False)]
        parts.append(page.section("Beside the published figures", page.table(columns, beside_published(rows))))
    for (study, title), (name, caption) in zip(_TITLES.items(), _FIGURES.items(), strict=True):
        own = [row for row in rows if row["study"] == study]
        picture = figures / name
        shown = [page.figure(picture.read_bytes(), caption)] if picture.is_file() else []
        tables = [_table([row for row in own if row["measure"] == measure], measure) for measure in _SHOWN[study]]
        parts.append(page.section(title, *shown, page.folded("Figures in numbers", *tables)))
    facts = page.pairs([(key.replace("_", " "), str(value)) for key, value in grid.document().items()])
    parts.append(page.section("What was run", facts))
    return page.document(
        "The paper's battery", *parts, subtitle=f"{policy} in {world}", facts=f"seed {seed}, {len(rows)} figures"
    )


def _how_to_read(rows: Sequence[Row], missing: Sequence[str]) -> page.Html:
    reference = {row["measure"]: row for row in rows if row["condition"] == AGAIN}
    noise = max((abs(row["difference"]) for row in reference.values()), default=0.0)
    unsteered = next(iter(reference.values()))["reference_success"] if reference else float("nan")
    foreign = sorted({row["condition"] for row in rows if row["non_action"] > _MOST_FOREIGN})
    items = [
        "This is a description of a grid, not a selection: no cell was chosen, and a cell that is picked from here "
        "has to be reported on other episodes (another --seed).",
        f"Unsteered success: {100 * unsteered:.0f} %. A damaged policy is slow, too: read no effect without the "
        "success beside it.",
        f"Noise floor: two unsteered runs differ by at most {noise:.3g} mm in any measure.",
        "Behaviour is compared at equal length with the unsteered episode of the same start; intervals are 95 % "
        "bootstrap intervals over these pairs.",
        "Random draws have the clamp's layers, number of neurons, coefficient and delivered norm. The grids over size "
        "and coefficient have none: they show a dose, not that it is beyond chance.",
    ]
    if foreign:
        items.append(
            "Over-steered, more than 1 % of the tokens are no actions (they decode to +1), so that no effect may be "
            f"claimed: {', '.join(foreign[:12])}{f' and {len(foreign) - 12} more' if len(foreign) > 12 else ''}."
        )
    if missing:
        items.append(f"Not found, and left out: {', '.join(missing)}.")
    return page.section("How to read this", page.bullets(items))


def _table(rows: Sequence[Row], measure: str) -> page.Html:
    columns = [page.Column("condition", False)] + [
        page.Column(heading)
        for heading in ("steered", "unsteered", "difference", "95 % or draws' range", "success", "non-action")
    ]
    return page.table(columns, [_cells(row) for row in rows], caption=measure)


def _cells(row: Row) -> list[str]:
    low, high, success = row["low"], row["high"], row["success"]
    draws = f" ({row['draws']} draws)" if row["draws"] else ""
    return [
        f"{row['condition']}{draws}",
        f"{row['mean']:.2f}",
        f"{row['reference']:.2f}",
        f"{row['difference']:+.2f}",
        "" if low is None else f"[{low:+.2f}, {high:+.2f}]",
        "" if success is None else f"{100 * success:.0f} %",
        f"{100 * row['non_action']:.1f} %",
    ]
