"""The process behind `TwinProcess`: settings as JSON in the first argument, a line of JSON on stdout when ready.

Ends on SIGTERM, by the hook `quit`, and when standard input is closed: no twin outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

from vlasteer.errors import ConfigError, VlasteerError
from vlasteer.robots.twin.plant import KinematicPlant, Plant
from vlasteer.robots.twin.service import TwinService, serve
from vlasteer.robots.twin.settings import TwinSettings


def make_plant(name: str, settings: TwinSettings) -> Plant:
    """The plant "kinematic", or what "module:function" makes of the settings.

    Raises:
        ConfigError: there is no such function.
    """
    if name == "kinematic":
        return KinematicPlant(settings.joints)
    module, colon, function = name.partition(":")
    try:
        factory = getattr(import_module(module), function) if colon else None
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"twin plant '{name}' ({error})", expected="'kinematic' or 'module:function'") from error
    if factory is None:
        raise ConfigError(f"twin plant '{name}'", expected="'kinematic' or 'module:function'")
    return factory(settings)


def main() -> int:
    """Serve; return the exit status."""
    request = json.loads(sys.argv[1])
    try:
        options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in request["settings"].items()}
        settings = TwinSettings(**options)
        serve(settings, make_plant(request["plant"], settings), _ready)
    except VlasteerError as error:
        _say({"error": error.problem, "expected": error.expected, "fix": error.fix})
        return error.exit_status
    except KeyboardInterrupt:  # Ctrl-C goes to the whole group; whoever started this one reports it
        return 130
    return 0


def _ready(service: TwinService) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), service.stop)
    _say({"host": service.host})


def _say(answer: dict[str, str]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main())
