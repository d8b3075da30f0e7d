"""The battery of the paper, for any policy and world: which features, which cells, which figures of each.

Häon, Stocking, Chuang, Tomlin, "Mechanistic interpretability for steering vision-language-action models", CoRL 2025
(arXiv 2509.00328): two studies on a robot (six neurons picked by keywords) and two in simulation (clusters of
embeddings over cluster size, coefficient and depth). It describes a grid. Nothing is selected in it, and nothing of it
may be selected on and then be reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from vlasteer.anatomy import Anatomy
from vlasteer.comparison import EpisodeMotion
from vlasteer.errors import ConceptError
from vlasteer.finding import FindOptions, Lexicon, find_feature
from vlasteer.finding.options import Depth
from vlasteer.projection import Projection
from vlasteer.steering import Feature
from vlasteer.studies.conditions import Condition
from vlasteer.studies.effects import COMMANDED, MEASURES, Effect, Measure, effect_of, null_band
from vlasteer.studies.matched import matched_draws

UNSTEERED, AGAIN = "unsteered", "unsteered again"
HEIGHT, SPEED = ("low", "high"), ("slow", "fast")
DEPTHS: tuple[Depth, ...] = ("early", "late", "full")
UP = "up"
PROJECTED_TOKENS = 30
_PUBLISHED_WIDTH = 4096

Kind = Literal["unsteered", "prompt", "clamp", "random"]


@dataclass(frozen=True)
class Grid:
    """How much is run.

    Attributes:
        sizes: neurons of a cluster.
        coefficients: that they are clamped to.
        robot_neurons, robot_coefficient: of the two studies that the paper made on a robot.
        episodes: of a cell.
        draws: random draws in these two, each of `draw_episodes` episodes.
        observations: of every recorded episode that are answered counterfactually.
    """

    sizes: tuple[int, ...] = (10, 20)
    coefficients: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0, 10.0, 20.0)
    robot_neurons: int = 6
    robot_coefficient: float = 10.0
    episodes: int = 20
    draws: int = 20
    draw_episodes: int = 5
    observations: int = 10

    @classmethod
    def of(cls, anatomy: Anatomy) -> Grid:
        """The paper's; for policies far below its size coefficients and clusters that they survive."""
        if max(site.width for site in anatomy.sites) >= _PUBLISHED_WIDTH:
            return cls()
        return cls(sizes=(6, 10, 20), coefficients=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0), robot_coefficient=2.0)

    def quick(self) -> Grid:
        """The smallest that still has every part."""
        return replace(
            self,
            sizes=self.sizes[:1],
            coefficients=self.coefficients[1:2],
            episodes=2,
            draws=2,
            draw_episodes=2,
            observations=2,
        )

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"sizes": list(self.sizes), "coefficients": list(self.coefficients)}


@dataclass(frozen=True)
class Cell:
    """A condition and what it stands for.

    Attributes:
        condition: what is run.
        study: "height" and "speed" (the robot's), "fast and slow", "up by depth", or "reference".
        kind: what is done.
        concept: whose feature or word.
        depth, size, coefficient: of the cluster.
        episodes: how many of the study's.
    """

    condition: Condition
    study: str
    kind: Kind
    episodes: int
    concept: str = ""
    depth: str = ""
    size: int = 0
    coefficient: float = 0.0


@dataclass(frozen=True)
class Battery:
    """Features and cells.

    Attributes:
        features: by name.
        closed_loop: cells that are run in the world; the first is the reference, the second the same again.
        counterfactual: cells that answer what was recorded; the first is the reference.
        missing: features for which the policy's vocabulary has no words, or no neuron has them.
    """

    features: Mapping[str, Feature]
    closed_loop: Sequence[Cell]
    counterfactual: Sequence[Cell]
    missing: tuple[str, ...] = ()


@dataclass
class _Making:
    anatomy: Anatomy
    projection: Projection
    lexicon: Lexicon
    features: dict[str, Feature] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def find(self, concept: str, options: FindOptions) -> Feature | None:
        name = f"{concept} {options.method} {options.depth} {options.k}"
        if name in self.missing:
            return None
        if name not in self.features:
            try:
                self.features[name] = find_feature(
                    self.anatomy, concept, self.projection, options, name=name, lexicon=self.lexicon
                )
            except ConceptError:
                self.missing.append(name)
                return None
        return self.features[name]

    def robot(self, study: str, concepts: Sequence[str], grid: Grid, seed: int) -> list[Cell]:
        """None, prompt, clamp and draws; as on the robot."""
        cells = []
        for concept in concepts:
            cells.append(Cell(Condition(f"say {concept}", adverb=concept), study, "prompt", grid.episodes, concept))
            feature = self.find(concept, FindOptions(k=grid.robot_neurons))
            if feature is None:
                continue
            what = (concept, "full", len(feature), grid.robot_coefficient)
            knobs = {feature.name: grid.robot_coefficient}
            cells.append(Cell(Condition(f"clamp {concept}", knobs), study, "clamp", grid.episodes, *what))
            for draw in matched_draws(self.anatomy, feature, grid.draws, seed=seed):
                self.features[draw.name] = draw
                condition = Condition(draw.name, {draw.name: grid.robot_coefficient})
                cells.append(Cell(condition, study, "random", grid.draw_episodes, *what))
        return cells

    def clusters(self, study: str, concepts: Sequence[str], depths: Sequence[Depth], grid: Grid) -> list[Cell]:
        """Clusters over depth, size and coefficient; as in simulation."""
        cells = []
        for concept in concepts:
            for depth in depths:
                for size in grid.sizes:
                    feature = self.find(concept, FindOptions(method="semantic", k=size, depth=depth))
                    if feature is None:
                        continue
                    for c in grid.coefficients:
                        condition = Condition(f"{feature.name} = {c:g}", {feature.name: c})
                        cells.append(Cell(condition, study, "clamp", grid.episodes, concept, depth, size, c))
        return cells


def make_battery(anatomy: Anatomy, projection: Projection, lexicon: Lexicon, grid: Grid, *, seed: int) -> Battery:
    """Find the features and lay the cells out.

    Args:
        anatomy: of the policy.
        projection: of that policy, with at least `PROJECTED_TOKENS` tokens per neuron.
        lexicon: the concepts' words.
        grid: how much.
        seed: of the random draws.
    """
    making = _Making(anatomy, projection, lexicon)
    reference = [Cell(Condition(name), "reference", "unsteered", grid.episodes) for name in (UNSTEERED, AGAIN)]
    closed_loop = [
        *reference,
        *making.robot("height", HEIGHT, grid, seed),
        *making.clusters("fast and slow", SPEED[::-1], ("full",), grid),
        *making.clusters("up by depth", (UP,), DEPTHS, grid),
    ]
    counterfactual = [*reference, *making.robot("speed", SPEED, grid, seed)]
    return Battery(making.features, closed_loop, counterfactual, tuple(making.missing))


def results_of(
    cells: Sequence[Cell], motions: Mapping[str, Sequence[EpisodeMotion]], measures: Mapping[str, Measure] = MEASURES
) -> list[dict[str, Any]]:
    """A row for every cell and measure, beside the unsteered reference at equal length; draws make one row together.

    The counterfactual study has measures of what was commanded only: give `COMMANDED`.
    """
    reference = motions[UNSTEERED]
    rows: list[dict[str, Any]] = []
    drawn: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.kind == "random":
            drawn.setdefault((cell.study, cell.concept), []).append(cell)
            continue
        for name, measure in measures.items():
            effect = effect_of(motions[cell.condition.name], reference, measure)
            rows.append(_about(cell, name) | _figures(effect))
    for same in drawn.values():
        for name, measure in measures.items():
            effects = [effect_of(motions[cell.condition.name], reference, measure) for cell in same]
            band = null_band(effects)
            rows.append(
                _about(replace(same[0], condition=Condition(f"random {same[0].concept}")), name)
                | {
                    "mean": sum(effect.mean for effect in effects) / len(effects),
                    "reference": sum(effect.reference for effect in effects) / len(effects),
                    "difference": band.mean,
                    "low": band.lowest,
                    "high": band.highest,
                    "pairs": sum(effect.pairs for effect in effects),
                    "success": band.success,
                    "reference_success": effects[0].reference_success,
                    "non_action": band.foreign,
                    "draws": band.count,
                }
            )
    return rows


def commanded_results(cells: Sequence[Cell], motions: Mapping[str, Sequence[EpisodeMotion]]) -> list[dict[str, Any]]:
    """`results_of` for the counterfactual study; success has no meaning there."""
    rows = results_of(cells, motions, COMMANDED)
    return [row | {"success": None, "reference_success": None} for row in rows]


def _about(cell: Cell, measure: str) -> dict[str, Any]:
    return {
        "study": cell.study,
        "condition": cell.condition.name,
        "kind": cell.kind,
        "concept": cell.concept,
        "depth": cell.depth,
        "size": cell.size,
        "coefficient": cell.coefficient,
        "measure": measure,
    }


def _figures(effect: Effect) -> dict[str, Any]:
    low, high = effect.interval
    return {
        "mean": effect.mean,
        "reference": effect.reference,
        "difference": effect.difference,
        "low": None if low != low else low,
        "high": None if high != high else high,
        "pairs": effect.pairs,
        "success": effect.success,
        "reference_success": effect.reference_success,
        "non_action": effect.foreign,
        "draws": 0,
    }
