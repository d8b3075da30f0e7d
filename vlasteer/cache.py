"""Where results that can be made again are kept between runs; nothing else is written outside of run folders."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$VLASTEER_CACHE`, else `$XDG_CACHE_HOME/vlasteer`, else `~/.cache/vlasteer`; it need not exist."""
    if chosen := os.environ.get("VLASTEER_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlasteer"
