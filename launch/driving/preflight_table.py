"""The table of what was compared before anything may move."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlasteer.protocols import World
    from vlasteer.robots.ur.preflight import Check


class PreflightTable:
    """Prints the table of a robot's every preflight once; simulations have none."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shown: Sequence[Check] = ()

    def show(self) -> None:
        """Print the newest one, if it has not been."""
        checks: Sequence[Check] = getattr(self._world, "checks", ())
        if checks and checks is not self._shown:
            self._shown = checks
            print(preflight_table(checks), file=sys.stderr, flush=True)


def preflight_table(checks: Sequence[Check]) -> str:
    """Rows of name, what was found, what was expected where it differs."""
    width = max((len(check.name) for check in checks), default=0)
    rows = ["Preflight"]
    for check in checks:
        wrong = "" if check.ok else f"   WRONG, expected: {check.expected}"
        rows.append(f"  {'ok ' if check.ok else '!! '} {check.name:<{width}}  {check.found}{wrong}")
    return "\n".join(rows)
