"""The command line: finds the command, reads its options, and turns what goes wrong into a line and an exit status.

Exit status: 0, or what the command's `run` returns; 2 for bad input; 1 for a failure; 130 for an interruption.
"""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import MISSING, fields, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

from vlasteer import __version__
from vlasteer.errors import ConfigError, UnknownNameError, VlasteerError

COMMANDS = (
    "doctor",
    "act",
    "find",
    "contrast",
    "inspect",
    "rollout",
    "drive",
    "record",
    "replay",
    "analyze",
    "serve",
    "twin",
    "organism",
    "study",
)
"""Names of the commands, in the order of the help. Command `x` is the dataclass `X` in `vlasteer.launch.x`."""

EPILOGUE = """\
vlasteer COMMAND --help explains a command, with an example. Every command takes --config FILE.
VLASTEER_DEBUG=1 shows where an error comes from."""

_CONFIG_HELP = "YAML file with values for these options, named as they are; what is given here wins."
_INTERRUPTED = 130  # 128 + SIGINT
_PIPE_CLOSED = 141  # 128 + SIGPIPE


class Command(Protocol):
    """A command: a frozen dataclass whose fields are its options and whose docstring is its help."""

    def run(self) -> int:
        """Do it; return the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return the exit status.

    Raises:
        SystemExit: from the option parser: status 0 after --help, 2 for options that are unknown, missing or ill-typed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    warnings.showwarning = _show_warning
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()  # a reader that has gone is noticed here, where it can be dealt with
        return status
    except VlasteerError as error:
        if os.environ.get("VLASTEER_DEBUG", "0") not in ("", "0"):
            raise
        print(f"vlasteer: error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nvlasteer: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit; into nothing, it does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """One line for what concerns the user; deprecations in libraries do not."""
    if issubclass(category, UserWarning):
        print(f"vlasteer: warning: {message}", file=sys.stderr)


def load_command(name: str) -> type[Command]:
    """The dataclass of a command.

    Raises:
        UnknownNameError: there is no such command.
    """
    if name not in COMMANDS:
        raise UnknownNameError.among("command", name, COMMANDS)
    return getattr(import_module(f"vlasteer.launch.{name}"), name.capitalize())


def parse(name: str, arguments: Sequence[str]) -> Command:
    """A command with its options, from the rest of the command line.

    Raises:
        VlasteerError: there is no such command, its config file cannot be used, or an option's value is refused.
        SystemExit: as `main`.
    """
    import tyro

    from vlasteer.launch.config_file import find_config, flags_from

    command = load_command(name)
    config = find_config(arguments)
    further = [] if config is None else flags_from(config, command, arguments)
    # The command's own options and --config side by side, as one flat list.
    options = make_dataclass(
        command.__name__,
        [
            ("command", Annotated[command, tyro.conf.arg(name="")]),
            ("config", Annotated[Path | None, tyro.conf.arg(help=_CONFIG_HELP)], None),
        ],
    )
    parsed: Any = tyro.cli(
        options,
        prog=f"vlasteer {name}",
        description=inspect.getdoc(command),
        args=[*further, *arguments],
        config=(tyro.conf.UseAppendAction,),  # --steer fast=8 --steer up=2
    )
    # A repeatable option that is never given is an empty tuple to the parser, even where it is required.
    for field in fields(cast(Any, command)):
        if field.default is MISSING and field.default_factory is MISSING and getattr(parsed.command, field.name) == ():
            option = "--" + field.name.replace("_", "-")
            raise ConfigError(f"{option} is missing", fix=f"See: vlasteer {name} --help")
    return parsed.command


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in ("", "help", "-h", "--help"):
        print(_help(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name == "--version":
        print(f"vlasteer {__version__}")
        return 0
    return parse(name, arguments[1:]).run()


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = (
        f"  {name:<{width}}  {(inspect.getdoc(load_command(name)) or '').partition(chr(10))[0]}" for name in COMMANDS
    )
    summary = (import_module("vlasteer").__doc__ or "").partition("\n")[0]
    return "\n".join(("usage: vlasteer COMMAND [OPTIONS]", "", summary, "", "commands:", *rows, "", EPILOGUE))


if __name__ == "__main__":
    sys.exit(main())
