"""What a policy would have done: its answers in several conditions as a table, CSV files and a plot."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import SteeringError
from vlasteer.replay import AskedAgain, Condition, displacements
from vlasteer.steering.value import check_coefficient
from vlasteer.types import ActionKind


def parse_condition(expression: str) -> Condition:
    """`fast=0`, `fast=off,slow=2`, `prompt=move slowly` or `fast=0,prompt=move slowly`: the prompt comes last.

    Raises:
        SteeringError: not of this form.
    """
    rest, knobs, instruction = expression.strip(), {}, None
    while rest:
        name, equals, value = rest.partition("=")
        name = name.strip()
        if not equals or not name:
            raise SteeringError(f"counterfactual '{expression}'", expected="feature=coefficient or prompt=words")
        if name == "prompt":
            instruction, rest = value.strip(), ""
            continue
        value, _, rest = value.partition(",")
        knobs[name] = None if value.strip() == "off" else _coefficient(value, expression)
        rest = rest.strip()
    if not knobs and instruction is None:
        raise SteeringError(f"counterfactual '{expression}'", expected="feature=coefficient or prompt=words")
    return Condition(expression.strip(), knobs, instruction)


def _coefficient(text: str, expression: str) -> float:
    try:
        return check_coefficient(float(text))
    except ValueError:
        raise SteeringError(
            f"coefficient '{text.strip()}' in '{expression}'", expected="a number, or off, which is not the same as 0"
        ) from None


@dataclass(frozen=True)
class Axis:
    """One dimension of the motion.

    Attributes:
        name: as in the action's convention.
        unit: in which it is shown; `factor` turns SI units into it.
    """

    name: str
    unit: str
    factor: float


@dataclass(frozen=True, eq=False)
class ConditionMotion:
    """What one condition asked for, in SI units.

    Attributes:
        name: of the condition.
        steps: float64 [n, axes] displacement of every step that was compared.
        non_action: share of tokens that are no action tokens, 0 to 1; NaN without tokens.
    """

    name: str
    steps: NDArray[np.float64]
    non_action: float


class Counterfactual:
    """The motion that every condition asks for, at the steps that all of them answered.

    Attributes:
        axes: the dimensions but the gripper's.
        rows: int64 [n] which steps of the episode are compared.
        motions: one per condition; the first two are what was recorded, and what is answered to the same again.
        translation: how many of the first axes are a translation: their length is measured, too.
    """

    def __init__(self, asked: AskedAgain) -> None:
        spec = asked.episode.layout.action_spec
        self.translation = 3 if spec.kind is ActionKind.EE_DELTA else 0
        self.axes = tuple(
            Axis(name, "mm", 1e3) if i < self.translation else Axis(name, "deg", float(np.degrees(1.0)))
            for i, name in enumerate(spec.names[:-1])
        )
        moved = [displacements(answers.world_actions, spec) for answers in asked.answers]
        answered = np.all([np.all(np.isfinite(values), axis=1) for values in moved], axis=0)
        self.rows = np.flatnonzero(answered)
        recorded = displacements(asked.episode.commanded, spec)
        shares = [a.non_action_tokens / a.tokens if a.tokens else float("nan") for a in asked.answers]
        names = ["asked again", *(answers.condition.name for answers in asked.answers[1:])]
        self.motions = (
            ConditionMotion("recorded", recorded[self.rows], float("nan")),
            *(ConditionMotion(n, m[self.rows], s) for n, m, s in zip(names, moved, shares, strict=True)),
        )

    def table(self) -> tuple[list[str], list[list[str | float]]]:
        """Column names and rows: per axis the sum and the mean size of a step; the mean length of a step."""
        shown = self.axes[: self.translation] or self.axes
        columns = ["condition", *(f"{a.name} ({a.unit})" for a in shown), *(f"|{a.name}|/step" for a in shown)]
        rows: list[list[str | float]] = []
        for motion in self.motions:
            steps = motion.steps[:, : len(shown)] * [axis.factor for axis in shown]
            rows.append([motion.name, *map(float, steps.sum(axis=0)), *map(float, np.abs(steps).mean(axis=0))])
            if self.translation:
                rows[-1].append(float(np.linalg.norm(steps, axis=1).mean()))
            rows[-1].append(100 * motion.non_action)
        return [*columns, *(["length/step"] if self.translation else []), "no action (%)"], rows

    def text(self) -> str:
        """The table for a terminal."""
        columns, rows = self.table()
        width = max(len(str(row[0])) for row in [columns, *rows])
        lines = ["  ".join([f"{columns[0]:<{width}}", *(f"{name:>13}" for name in columns[1:])])]
        for name, *values in rows:
            lines.append("  ".join([f"{name:<{width}}", *(f"{'-' if v != v else f'{v:.3f}':>13}" for v in values)]))
        return "\n".join(lines)

    def save(self, folder: Path, title: str) -> list[str]:
        """Write summary.csv, steps.csv and displacement.png; returns their names."""
        folder.mkdir(parents=True, exist_ok=True)
        columns, rows = self.table()
        _write_csv(folder / "summary.csv", columns, [["" if v != v else v for v in row] for row in rows])
        units = ["m" if axis.unit == "mm" else "rad" for axis in self.axes]
        header = ["condition", "step", *(f"{a.name} ({u})" for a, u in zip(self.axes, units, strict=True))]
        steps = [
            [m.name, int(k), *map(float, row)] for m in self.motions for k, row in zip(self.rows, m.steps, strict=True)
        ]
        _write_csv(folder / "steps.csv", header, steps)
        self._plot(folder / "displacement.png", title)
        return ["summary.csv", "steps.csv", "displacement.png"]

    def _plot(self, path: Path, title: str) -> None:
        from matplotlib.figure import Figure

        shown = self.axes[: self.translation] or self.axes
        panels = len(shown) + bool(self.translation)
        figure = Figure(figsize=(3.6 * min(panels, 4), 3.4 * -(-panels // 4)), layout="constrained")
        axes = np.ravel(figure.subplots(-(-panels // 4), min(panels, 4), squeeze=False))
        for i, axis in enumerate(shown):
            axes[i].set(title=f"{axis.name} asked for, summed ({axis.unit})", xlabel="step")
            for motion, style in zip(self.motions, _styles(len(self.motions)), strict=True):
                axes[i].plot(self.rows, motion.steps[:, i].cumsum() * axis.factor, label=motion.name, **style)
        if self.translation:
            axes[len(shown)].set(title="length of a step (mm)", xlabel="step")
            for motion, style in zip(self.motions, _styles(len(self.motions)), strict=True):
                lengths = np.linalg.norm(motion.steps[:, : self.translation], axis=1) * 1e3
                axes[len(shown)].plot(self.rows, lengths, **style)
        for panel in axes[:panels]:
            panel.grid(alpha=0.3)
            panel.axhline(0, color="black", linewidth=0.5)
        for panel in axes[panels:]:
            panel.set_visible(False)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
        figure.suptitle(title, fontsize="medium")
        figure.savefig(path, dpi=130)


def _styles(count: int) -> list[dict[str, object]]:
    """What was recorded as a broad grey line, the same asked again as a thin black one on it, the others in colours."""
    others: list[dict[str, object]] = [{"linewidth": 1.6} for _ in range(count - 2)]
    return [{"color": "0.75", "linewidth": 5}, {"color": "black", "linewidth": 1}, *others]


def _write_csv(path: Path, columns: list[str], rows: list[list[str | float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
