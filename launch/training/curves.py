"""The losses of a run as one picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from vlasteer.launch.training.recipe import Recipe


def plot_curves(folders: Sequence[Path], path: Path, recipe: Recipe) -> None:
    """Draw every CSV file in the folders, one panel a stage, logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    files = [file for folder in folders for file in sorted(folder.glob("*.csv"))]
    figure, axes = plt.subplots(1, len(files), figsize=(5 * len(files), 4), squeeze=False)
    for axis, file in zip(axes[0], files, strict=True):
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        steps = [int(row["step"]) for row in rows]
        for name in rows[0]:
            if name != "step":
                axis.plot(steps, [float(row[name]) for row in rows], label=name, linewidth=1)
        axis.set(yscale="log", xlabel="step", title=f"{file.stem} ({recipe.kind}, seed {recipe.seed})")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
