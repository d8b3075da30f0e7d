"""The robots by name: "ur5" and "ur5e", each with its robot file. A `vlasteer.protocols.WorldFamily`.

`vlasteer drive` is how people run them. From Python, `make_world("ur5e", robot="ur5e.yaml", instruction="...")` gives
the same world, and whoever calls it has to call `permit` while a person holds a button: without it nothing moves.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vlasteer.errors import ConfigError, UnknownNameError
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.world import URWorld

_NAMES = ("ur5", "ur5e")
_OPTIONS = ("robot", "instruction", "dry_run", "log")


def names() -> tuple[str, ...]:
    """One for each arm."""
    return _NAMES


def make(name: str, **options: Any) -> URWorld:
    """The robot that a file describes, with its cameras and its gripper. Connects to these; the arm comes with `reset`.

    Args:
        name: the arm; the file has to be of that model.
        options: robot (the file), instruction (the task in words), dry_run (default: true), log (folder).

    Raises:
        UnknownNameError: no such robot or option.
        ConfigError: no file, one of another arm, or one that cannot be used.
        WorldError: a camera or the gripper does not answer.
    """
    if name not in _NAMES:
        raise UnknownNameError.among("robot", name, _NAMES)
    for option in options:
        if option not in _OPTIONS:
            raise UnknownNameError.among(f"option of {name}", option, _OPTIONS)
    if "robot" not in options:
        raise ConfigError(f"{name} without its robot file", fix="Give it as the option robot=ur5e.yaml")
    config = RobotConfig.load(options["robot"])
    if config.model != name:
        raise ConfigError(f"{options['robot']} describes a {config.model}", expected=f"a {name}")
    dry_run = bool(options.get("dry_run", True))
    log = options.get("log")
    with ExitStack() as stack:
        from vlasteer.robots.cameras import open_cameras
        from vlasteer.robots.ur.gripper import GripperThread

        cameras = stack.enter_context(open_cameras(config.cameras, host=config.host))
        gripper = None
        if config.gripper is not None:
            gripper = GripperThread(config.host, config.gripper, read_only=dry_run)
            stack.callback(gripper.close)
            gripper.wait_ready()
        return URWorld(
            config,
            cameras=cameras,
            gripper=gripper,
            instruction=str(options.get("instruction", "")),
            dry_run=dry_run,
            log=None if log is None else Path(log),
            owned=stack.pop_all(),
        )
