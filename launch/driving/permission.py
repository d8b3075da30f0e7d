"""Who gives the permission to move: a person at the terminal or at the page; a file only where nothing real moves."""

from __future__ import annotations

import sys
from pathlib import Path

from vlasteer.errors import ConfigError


def at_terminal() -> bool:
    """Whether a person can press keys here and read what is said."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def require_permission(*, page: bool, schedule: Path | None, real: bool) -> None:
    """Refuse to start where nobody could ever hold to run.

    Args:
        page: whether the page is served.
        schedule: file that turns knobs at given times, and may hold.
        real: whether a real arm would move.

    Raises:
        ConfigError: no terminal and no page; for simulations and the twin, no schedule either.
    """
    if at_terminal() or page or (schedule is not None and not real):
        return
    if real and schedule is not None:
        raise ConfigError("a schedule gives no permission to move a robot", fix="Run it in a terminal, or add --page")
    raise ConfigError(
        "nobody could hold to run: standard input is no terminal",
        expected="a terminal with its space bar, or --page" + ("" if real else ", or --schedule FILE that holds"),
    )
