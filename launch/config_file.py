"""`--config file.yaml`: the options of a command, written down.

The file is a mapping from option names to values, and means what the same flags on the command line would mean:

    policy: openvla/openvla-7b      # --policy openvla/openvla-7b
    tasks: [0, 1]                   # --tasks 0,1
    steer: {fast: 8, low: 2}        # --steer fast=8 --steer low=2
    paired: true                    # --paired

An option that is on the command line too takes its value from there. Scalars are taken as they are spelt: YAML's own
reading would make the neuron 3:12 the number 192 and the word `no` a boolean.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from vlasteer.errors import ConfigError

_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_NOTHING = ("", "~", "null")


def find_config(arguments: Sequence[str]) -> Path | None:
    """The file that `--config` names on a command line, or None."""
    found = None
    for i, argument in enumerate(arguments):
        if argument == "--config" and i + 1 < len(arguments):
            found = arguments[i + 1]
        elif argument.startswith("--config="):
            found = argument.partition("=")[2]
    return None if found is None else Path(found).expanduser()


def flags_from(path: Path, command: type[Any], given: Sequence[str]) -> list[str]:
    """The content of a config file as flags, to be put before those of the command line.

    Args:
        path: the YAML file.
        command: the dataclass of the command; its fields are the known options.
        given: the command line; options that it names are left out.

    Raises:
        ConfigError: the file is missing or malformed, or has an unknown option or a value of the wrong shape.
    """
    document = _read(path)
    hints = get_type_hints(command, include_extras=True)
    known = {field.name: hints[field.name] for field in fields(command)}
    _refuse_unknown(path, [str(key) for key in document], list(known))
    on_command_line = {_option(argument) for argument in given if argument.startswith("--")}
    flags: list[str] = []
    for key, value in document.items():
        name = _field(key)
        if not {name, f"no_{name}"} & on_command_line:
            flags += _flags(path, key, known[name], value)
    return flags


def _field(key: str) -> str:
    return key.replace("-", "_")


def _option(argument: str) -> str:
    return _field(argument[2:].partition("=")[0])


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # builds nothing but strings
    except FileNotFoundError:
        raise ConfigError(f"there is no config file at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config file {path} cannot be read ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{place} is no YAML ({getattr(error, 'problem', None) or error})") from error
    if document in (None, ""):
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds a {type(document).__name__}", expected="lines of the form option: value")
    return document


def _refuse_unknown(path: Path, keys: list[str], known: list[str]) -> None:
    unknown = [key for key in keys if _field(key) not in known]
    if not unknown:
        return
    close = {key: difflib.get_close_matches(_field(key), known, n=1) for key in unknown}
    guesses = [f"'{match[0]}' for '{key}'" for key, match in close.items() if match]
    raise ConfigError(
        f"{path} has unknown options: {', '.join(unknown)}",
        expected=f"some of: {', '.join(known)}",
        fix=f"Did you mean {', '.join(guesses)}" if guesses else "",
    )


def _flags(path: Path, key: str, hint: Any, value: Any) -> list[str]:
    flag = f"--{key.replace('_', '-')}"
    kind, repeatable = _kind(hint)
    if isinstance(value, str):
        if value.lower() in _NOTHING:
            return []
        if kind is bool:
            return [_switch(path, key, value)]
        return [f"{flag}={value}"]
    parts = list(value.values()) if isinstance(value, dict) else value
    if kind is bool or not all(isinstance(part, str) for part in parts) or (isinstance(value, dict) and not repeatable):
        raise ConfigError(f"{path}: '{key}' has a value of the wrong shape", expected="what the flag would take")
    items = [f"{name}={part}" for name, part in value.items()] if isinstance(value, dict) else parts
    return [f"{flag}={item}" for item in items] if repeatable else [f"{flag}={','.join(items)}"]


def _kind(hint: Any) -> tuple[Any, bool]:
    """The type of an option without `Annotated` and `None`, and whether it can be given several times."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not types.NoneType]
        hint = members[0] if len(members) == 1 else hint
    return hint, get_origin(hint) in (tuple, list)


def _switch(path: Path, key: str, value: str) -> str:
    name = key.replace("_", "-")
    if value.lower() in _TRUE:
        return f"--{name}"
    if value.lower() in _FALSE:
        return f"--no-{name}"
    raise ConfigError(f"{path}: '{key}' is '{value}'", expected="true or false")
