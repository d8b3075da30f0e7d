"""The shipped organisms: nano checkpoints whose concepts are known by construction, each a folder with its card.

The entry point group `vlasteer.checkpoints` names `folders`, so that `load_policy("openvla-nano")` finds them.
"""

from __future__ import annotations

from pathlib import Path


def folders() -> dict[str, Path]:
    """Name -> folder of every organism in this package."""
    here = Path(__file__).parent
    return {path.parent.name: path.parent for path in sorted(here.glob("*/config.json"))}
