"""From a mapping in a YAML file to a frozen dataclass, with an error that names the line's key and what it should be.

Strict on purpose, for the values move an arm: unknown and repeated keys are refused, nothing is converted silently, and
numbers have to be finite.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vlasteer.errors import ConfigError, UnknownNameError

T = TypeVar("T")


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, no YAML, no mapping, or a key that occurs twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's own takes the last of two equal keys without a word."""

    def mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else str(key)
            if name in seen:
                raise ConfigError(f"{path}, line {key.start_mark.line + 1}: '{name}' is given twice")
            seen.add(name)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except FileNotFoundError:
        raise ConfigError(f"there is no robot file at {path}", fix="See: vlasteer drive --help") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the robot file {path} cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # ValueError: the 30th of February
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{place} is no YAML ({getattr(error, 'problem', None) or error})") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds {_shown(document)}", expected="lines of the form key: value")
    return document


def build(cls: type[T], values: Any, where: str) -> T:
    """An instance of a dataclass from a mapping; fields that are absent keep their defaults.

    Types of fields: float, int, bool, str, enums, Literal, other such dataclasses, tuples of these (a list in the
    file), mappings from names to these, and each of them or None.

    Args:
        cls: the dataclass; its own `__post_init__` may refuse further.
        values: what the file has there.
        where: the place, for messages: "ur5e.yaml: limits".

    Raises:
        UnknownNameError: a key that is no field.
        ConfigError: a field without default is absent, or a value of another type.
    """
    assert is_dataclass(cls)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {_shown(values)}", expected="lines of the form key: value")
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            raise UnknownNameError.among(f"key in {where}:", key, known)
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: '{name}' is missing", expected=_description(cls, name))
    hints = get_type_hints(cls)
    given = {name: convert(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return cast(T, cls(**given))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.problem}", expected=error.expected, fix=error.fix) from error


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as an instance of the type `hint`; see `build`.

    Raises:
        ConfigError: it is none.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not types.NoneType]
        if value is None and len(members) < len(arguments):
            return None
        plain = [member for member in members if isinstance(member, type) and type(value) is member]
        return convert((plain or members)[0], value, where)
    if origin is Literal:
        return _among(arguments, value, where)
    if origin is tuple:
        return _sequence(arguments, value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ConfigError(f"{where} is {_shown(value)}", expected="name: value, one or several")
        return {key: convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if is_dataclass(hint):
        return build(cast(type[Any], hint), value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(_among([member.value for member in hint], value, where))
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number and math.isfinite(value):
        return float(value)
    if hint is int and number and isinstance(value, int):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    expected = {float: "a finite number", int: "a whole number", bool: "true or false", str: "text"}[hint]
    fix = ""
    if hint is float and isinstance(value, str) and _is_number(value):
        fix = f"YAML takes {value} for text; write it with a point and without quotes, as 1.0e-3"
    if hint is str and number:
        fix = f'Write it in quotes: "{value}"'
    raise ConfigError(f"{where} is {_shown(value)}", expected=expected, fix=fix)


def _sequence(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    repeated = len(items) == 2 and items[1] is Ellipsis
    if not isinstance(value, list | tuple) or (not repeated and len(value) != len(items)):
        count = "" if repeated else f" of {len(items)}"
        raise ConfigError(f"{where} is {_shown(value)}", expected=f"a list{count}, as [1.0, 2.0]")
    hints = [items[0]] * len(value) if repeated else items
    return tuple(convert(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


def _among(known: Any, value: Any, where: str) -> Any:
    for item in known:
        if type(item) is type(value) and item == value:
            return item
    raise UnknownNameError.among(f"{where}:", value, known)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _shown(value: Any) -> str:
    """A value in a message: short, and on one line."""
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _description(cls: type[Any], name: str) -> str:
    """What the class's docstring says about a field, up to the first full stop."""
    text = " ".join((cls.__doc__ or "").split())
    _, found, rest = text.partition(f" {name}: ")
    return rest.partition(". ")[0][:160] if found else "a value"
