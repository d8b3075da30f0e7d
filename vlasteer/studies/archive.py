"""Finished episodes of a study as lines of JSON, appended as they end, so that a study can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vlasteer.comparison import EpisodeMotion
from vlasteer.errors import InputError, OutputError
from vlasteer.types import EpisodeKey, Outcome

_DIGITS = 7


class MotionArchive:
    """The file; made when the first episode is kept.

    Args:
        path: of the file, in a folder that exists.

    Raises:
        InputError: a line in the middle is no episode. The last one may be cut: its episode is run again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.motions: list[EpisodeMotion] = []
        whole = 0
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        for number, line in enumerate(lines, 1):
            try:
                motion = _read(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    break
                raise InputError(f"line {number} of {path} is no episode ({error})", fix="Remove the line") from error
            if not line.endswith(b"\n"):
                break
            self.motions.append(motion)
            whole += len(line)
        if lines and whole < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(whole)

    def keep(self, motion: EpisodeMotion) -> None:
        """Append a finished episode.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_document(motion)) + "\n")
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written ({error.strerror})") from error
        self.motions.append(motion)


def _document(motion: EpisodeMotion) -> dict[str, Any]:
    return {
        "arm": motion.arm,
        "key": list(motion.key),
        "outcome": motion.outcome.value,
        "positions": np.round(motion.positions, _DIGITS).tolist(),
        "commanded": np.round(motion.commanded, _DIGITS).tolist(),
        "tokens": motion.tokens,
        "non_action_tokens": motion.non_action_tokens,
        "rate_hz": motion.rate_hz,
    }


def _read(document: dict[str, Any]) -> EpisodeMotion:
    return EpisodeMotion(
        arm=str(document["arm"]),
        key=EpisodeKey(*map(int, document["key"])),
        outcome=Outcome(document["outcome"]),
        positions=np.array(document["positions"], np.float64).reshape(-1, 3),
        commanded=np.array(document["commanded"], np.float64).reshape(-1, 3),
        tokens=int(document["tokens"]),
        non_action_tokens=int(document["non_action_tokens"]),
        rate_hz=float(document["rate_hz"]),
    )
