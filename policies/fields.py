"""A JSON object of a checkpoint, read field by field, with errors that name the file and the field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlasteer.checkpoints import read_json
from vlasteer.errors import CheckpointError

_REQUIRED: Any = object()


class Fields:
    """One JSON object.

    Every reader raises `CheckpointError` when the field is absent and has no default, or is of another type.

    Args:
        values: the object.
        where: file and path inside it, for messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    @classmethod
    def of_file(cls, folder: Path, name: str) -> Fields:
        """The object in `folder/name`."""
        return cls(read_json(folder, name), str(folder / name))

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def integer(self, name: str, default: int = _REQUIRED, *, at_least: int = 1) -> int:
        """A whole number that is `at_least` so large."""
        value = self._typed(name, int, "a whole number", default)
        if value < at_least:
            raise CheckpointError(f"{self.where}: field '{name}' is {value}", expected=f"at least {at_least}")
        return value

    def number(self, name: str, default: float = _REQUIRED) -> float:
        """A number."""
        return float(self._typed(name, (int, float), "a number", default))

    def flag(self, name: str, default: bool = _REQUIRED) -> bool:
        """true or false."""
        return self._typed(name, bool, "true or false", default)

    def text(self, name: str, default: str = _REQUIRED) -> str:
        """A string."""
        return self._typed(name, str, "a string", default)

    def block(self, name: str) -> Fields:
        """An object inside this one."""
        return Fields(self._typed(name, dict, "an object", _REQUIRED), f"{self.where}:{name}")

    def blocks(self, name: str) -> list[Fields]:
        """A list of objects inside this one."""
        return [Fields(v, f"{self.where}:{name}[{i}]") for i, v in enumerate(self.items(name, dict, "objects"))]

    def items(
        self, name: str, kind: type, words: str, default: list[Any] | None = _REQUIRED, *, count: int | None = None
    ) -> list[Any]:
        """A list of `kind`, of `count` if given; `words` says so in messages. null counts as absent."""
        if default is not _REQUIRED and self.values.get(name) is None:
            return [] if default is None else default
        values = self._typed(name, list, f"a list of {words}", _REQUIRED)
        if not all(isinstance(value, kind) for value in values) or count not in (None, len(values)):
            words = words if count is None else f"{count} {words}"
            raise CheckpointError(f"{self.where}: field '{name}' is {values!r}", expected=f"a list of {words}")
        return values

    def require(self, name: str, *allowed: Any) -> None:
        """Refuse a field whose value would change the computation in a way that is not implemented.

        The first of `allowed` is what an absent field means.
        """
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f"{self.where}: field '{name}' is {value!r}, which is not supported", expected=f"{allowed[0]!r}"
            )

    def _typed(self, name: str, kind: type | tuple[type, ...], words: str, default: Any) -> Any:
        if name not in self.values:
            if default is not _REQUIRED:
                return default
            raise CheckpointError(f"{self.where} has no field '{name}'", expected=words)
        value = self.values[name]
        # bool is an int in Python; a flag where a size belongs is a mistake.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise CheckpointError(f"{self.where}: field '{name}' is {value!r}", expected=words)
        return value
