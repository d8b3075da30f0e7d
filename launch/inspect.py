"""`vlasteer inspect`: what the neurons of a policy read as, layer by layer, as tables and a plot."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlasteer.errors import ConfigError, OutputError
from vlasteer.launch.progress import progress_bar
from vlasteer.launch.reading import ReadingOptions

if TYPE_CHECKING:
    from vlasteer.anatomy import Neuron
    from vlasteer.projection import Projection
    from vlasteer.protocols import Policy

Table = tuple[list[str], list[list[Any]]]


@dataclass(frozen=True, kw_only=True)
class Inspect(ReadingOptions):
    """Statistics of what a policy's neurons read as: action tokens and patterns among top tokens, by layer.

    Example:
        vlasteer inspect --policy openvla/openvla-7b --out inspection --neurons 237682,302720
    """

    out: str
    """Folder for the tables (CSV), the plot and the options that they were made with."""
    top_n: str = "10,30,100"
    """How many top tokens of a neuron are looked at for action tokens, one column each."""
    null_vectors: int = 256
    """Null vectors per layer that the share of neurons with a pattern stands beside."""
    seed: int = 0
    """Of the null vectors."""
    neurons: str | None = None
    """Show the top tokens of these neurons: layer:neuron, stream:layer:neuron or flat ids, separated by commas."""

    def run(self) -> int:
        """Project, count, write."""
        from vlasteer.inspection import action_shares, interpretable_shares, plot
        from vlasteer.patterns import OF
        from vlasteer.steering.packs import parse_neuron

        top_n = self._top_n()
        folder = make_folder(self.out)
        lexicon = self.load_lexicon()
        policy = self.load_policy()
        texts = [] if self.neurons is None else self.neurons.split(",")
        neurons = [parse_neuron(text.strip(), policy.anatomy) for text in texts]
        size = policy.anatomy.token_basis.size
        projection = self.project(policy, min(max(*top_n, OF), size))
        actions = action_shares(projection, policy.anatomy.token_basis, [n for n in top_n if n <= size])
        with progress_bar("patterns", " layers") as progress:
            interpretable = interpretable_shares(
                policy.anatomy,
                projection,
                lexicon=lexicon,
                null_vectors=self.null_vectors,
                seed=self.seed,
                progress=progress,
            )
        tables = {"action_tokens": actions.table(), "patterns": interpretable.table()}
        if neurons:
            tables["neurons"] = _token_table(policy, projection, neurons)
        for name, table in tables.items():
            write_csv(folder / f"{name}.csv", table)
        self._write_facts(folder, policy, projection, actions.in_vocabulary)
        plot(actions, interpretable, folder / "inspection.png", policy.name)
        print(f"Share of action tokens among top tokens ({actions.in_vocabulary:.4f} of the vocabulary):")
        print(format_table(tables["action_tokens"]))
        print("\nShare of neurons with a pattern (see vlasteer.patterns; only the difference to the null counts):")
        print(format_table(tables["patterns"]))
        if neurons:
            print("\nTop tokens:")
            print(format_table(tables["neurons"]))
        written = ", ".join([*(f"{name}.csv" for name in tables), "inspection.json", "inspection.png"])
        print(f"\nThe results are in {folder}: {written}")
        return 0

    def _top_n(self) -> list[int]:
        try:
            values = [int(part) for part in self.top_n.split(",")]
        except ValueError:
            values = []
        if not values or min(values) < 1 or self.null_vectors < 1:
            raise ConfigError(
                f"--top-n {self.top_n} --null-vectors {self.null_vectors}", expected="numbers of at least 1"
            )
        return values

    def _write_facts(self, folder: Path, policy: Policy, projection: Projection, in_vocabulary: float) -> None:
        from vlasteer import __version__

        facts = {
            "vlasteer": __version__,
            "policy": policy.name,
            "checkpoint_hash": policy.checkpoint_hash,
            "projection": projection.options.document(),
            "weights": projection.weights,
            "action_tokens_in_vocabulary": in_vocabulary,
            "null_vectors": self.null_vectors,
            "seed": self.seed,
            "lexicon": list(self.lexicon),
        }
        try:
            (folder / "inspection.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error.strerror})") from error


def make_folder(path: str) -> Path:
    """The folder, made if absent.

    Raises:
        OutputError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made ({error.strerror})") from error
    return folder


def write_csv(path: Path, table: Table) -> None:
    """Write column names and rows.

    Raises:
        OutputError: the file cannot be written.
    """
    header, rows = table
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror})") from error


def format_table(table: Table) -> str:
    """Aligned columns; shares with three digits."""
    header, rows = table
    cells = [header, *([f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [not rows or not isinstance(rows[0][i], str) for i in range(len(header))]
    return "\n".join(
        "  "
        + "  ".join(f"{c:>{w}}" if right else f"{c:<{w}}" for c, w, right in zip(row, widths, numeric, strict=True))
        for row in cells
    )


def _token_table(policy: Policy, projection: Projection, neurons: list[Neuron]) -> Table:
    label = policy.anatomy.token_basis.label
    rows = []
    for neuron in neurons:
        top = projection.top(neuron, min(10, projection.options.top_k))
        rows.append([str(neuron), *(f"{label(token)} {score:.3f}" for token, score in top)])
    return ["neuron", *(str(i + 1) for i in range(len(rows[0]) - 1))], rows
