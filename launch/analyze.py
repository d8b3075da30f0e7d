"""`vlasteer analyze`: a report of one or several runs, to be read in any browser and mailed."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Analyze:
    """Write a report of recorded runs: one HTML page with everything in it, and its numbers as CSV and Parquet.

    Runs of `vlasteer rollout` are compared pair by pair with their unsteered episodes, or with those of another run
    given here. Of runs whose knobs were turned by hand it shows what moved at which value. It ends with what was seen,
    where to look and what to try next.

    Example:
        vlasteer analyze runs/fast runs/slow --out runs/both
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN..."), tyro.conf.Positional] = ()
    """Run folders, one or several."""
    out: Path | None = None
    """Folder for report.html and report/; default: the first run's."""

    def run(self) -> int:
        """Read, compute, write, and say what was found."""
        from vlasteer.analysis import load_runs
        from vlasteer.analysis.tables import save_rows
        from vlasteer.errors import ConfigError, OutputError
        from vlasteer.launch.reporting.report import Report
        from vlasteer.launch.reporting.wording import closing
        from vlasteer.recording.atomic import replace_text

        if not self.runs:
            raise ConfigError("no run was given", expected="at least one folder: vlasteer analyze RUN...")
        runs = load_runs(self.runs)
        report = Report(runs, _program())
        folder = (self.out or runs[0].path).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(folder / "report.html", report.html())
        except OSError as error:
            raise OutputError(
                f"the report cannot be written to {folder}: {error.strerror or error}",
                fix="Choose another folder with --out",
            ) from error
        for name, rows in report.tables.items():
            save_rows(rows, folder / "report" / name)
        videos = [str(path) for run in runs if (path := run.path / "side_by_side.mp4").is_file()]
        print("\n".join(closing(report.findings, str(folder / "report.html"), videos, report.next_steps)))
        return 0


def _program() -> str:
    """How vlasteer is called here, for commands to paste."""
    called = Path(sys.argv[0])
    if shutil.which("vlasteer") or called.name != "vlasteer":
        return "vlasteer"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
