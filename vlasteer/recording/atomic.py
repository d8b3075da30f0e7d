"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a temporary file beside `path`, bring it to the disk and put it in the place of `path`.

    The temporary name is fixed, so that what a crash leaves behind is overwritten by the next attempt.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    handle = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.replace(path)


def replace_json(path: Path, value: Any) -> None:
    """`replace_file` with JSON that every parser reads: NaN and infinity are refused by `ValueError`."""
    text = json.dumps(value, indent=4, ensure_ascii=False, allow_nan=False)
    replace_file(path, lambda temporary: _write_text(temporary, text))


def replace_text(path: Path, text: str) -> None:
    """`replace_file` with UTF-8 text."""
    replace_file(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
