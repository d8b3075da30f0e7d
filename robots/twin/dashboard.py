"""Dashboard server: one command a line, one reply a line.

Source: Universal Robots, "Dashboard Server e-Series" (commands, replies, which need remote control) and its CB3
counterpart. Commands are case-insensitive. Approximations: no program files (`load` finds none), popups go to the log,
users and operational modes are acknowledged and have no effect, and so is `shutdown`. PolyScope X has another
interface in place of this one; there the same commands are served, for tests.
"""

from __future__ import annotations

from collections.abc import Callable

from vlasteer.robots.twin.controller import Controller
from vlasteer.robots.twin.states import RuntimeState

BANNER = "Connected: Universal Robots Dashboard Server"
MAX_LINE = 4096

_TOO_SOON = (
    "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of protective stop before unlocking"
)
_NOT_REMOTE = "Not in remote control"
_PROGRAM_STATES = {
    RuntimeState.STOPPED: "STOPPED",
    RuntimeState.STOPPING: "STOPPED",
    RuntimeState.PAUSED: "PAUSED",
    RuntimeState.PAUSING: "PAUSED",
}


def answer(controller: Controller, line: str) -> str:
    """Carry out one command and return the reply, without its newline."""
    text = line.strip()
    lower = text.lower()
    for name, (needs_remote, since, act) in _COMMANDS.items():
        if lower == name or lower.startswith(name + " "):
            if not controller.version.has(None if name in _E_SERIES_ONLY else (0, 0), since):
                break
            if needs_remote and not controller.remote_control and not controller.version.cb3:
                return _NOT_REMOTE
            return act(controller, text[len(name) :].strip())
    return f"could not understand: '{text[:200]}'"


def closes(line: str) -> bool:
    """Whether the connection ends behind the reply."""
    return line.strip().lower() == "quit"


def _play(c: Controller, rest: str) -> str:
    return "Starting program" if c.play() else "Failed to execute: play"


def _stop(c: Controller, rest: str) -> str:
    c.stop_program("dashboard")
    return "Stopped"


def _pause(c: Controller, rest: str) -> str:
    return "Pausing program" if c.pause("dashboard") else "Failed to execute: pause"


def _power_on(c: Controller, rest: str) -> str:
    return "Powering on" if c.safety.power_on() else "Failed to execute: power on"


def _power_off(c: Controller, rest: str) -> str:
    c.power_off()
    return "Powering off"


def _release_brakes(c: Controller, rest: str) -> str:
    return "Brake releasing" if c.safety.release_brakes() else "Failed to execute: brake release"


def _unlock(c: Controller, rest: str) -> str:
    return "Protective stop releasing" if c.safety.unlock() else _TOO_SOON


def _restart_safety(c: Controller, rest: str) -> str:
    c.safety.restart()
    return "Restarting safety"


def _says(reply: str) -> Callable[[Controller, str], str]:
    return lambda c, rest: reply


def _program_state(c: Controller, rest: str) -> str:
    return f"{_PROGRAM_STATES.get(c.runtime_state, 'PLAYING')} {c.program.name if c.program else '<unnamed>'}"


_E_SERIES_ONLY = ("is in remote control", "get serial number", "get operational mode")

_Command = tuple[bool, tuple[int, int], Callable[[Controller, str], str]]

# Name -> needs remote control, e-Series version that introduced it, what it does. Longer names come before their
# prefixes.
_COMMANDS: dict[str, _Command] = {
    "load installation": (True, (5, 0), lambda c, rest: f"File not found: {rest}"),
    "load": (True, (5, 0), lambda c, rest: f"File not found: {rest}"),
    "play": (True, (5, 0), _play),
    "stop": (True, (5, 0), _stop),
    "pause": (True, (5, 0), _pause),
    "quit": (False, (5, 0), _says("Disconnected")),
    "shutdown": (True, (5, 0), _says("Shutting down")),
    "running": (False, (5, 0), lambda c, rest: f"Program running: {str(c.program_running).lower()}"),
    "robotmode": (False, (5, 0), lambda c, rest: f"Robotmode: {c.safety.robot_mode.name}"),
    "get loaded program": (False, (5, 0), _says("No program loaded")),
    "popup": (False, (5, 0), _says("showing popup")),
    "close popup": (False, (5, 0), _says("closing popup")),
    "addtolog": (False, (5, 0), _says("Added log message")),
    "isprogramsaved": (False, (5, 0), _says("false")),
    "programstate": (False, (5, 0), _program_state),
    "polyscopeversion": (False, (5, 0), lambda c, rest: f"URSoftware {c.version} (Jan 01 2025)"),
    "version": (False, (5, 0), lambda c, rest: str(c.version)),
    "setuserrole": (False, (5, 0), lambda c, rest: f"Setting user role: {rest}"),
    "set operational mode": (False, (5, 0), lambda c, rest: f"Setting operational mode: {rest}"),
    "clear operational mode": (
        False,
        (5, 0),
        _says("operational mode is no longer controlled by Dashboard Server"),
    ),
    "get operational mode": (False, (5, 6), _says("NONE")),
    "power on": (True, (5, 0), _power_on),
    "power off": (True, (5, 0), _power_off),
    "brake release": (True, (5, 0), _release_brakes),
    "safetymode": (False, (5, 0), lambda c, rest: f"Safetymode: {c.safety.safety_mode.name}"),
    "safetystatus": (False, (5, 4), lambda c, rest: f"Safetystatus: {c.safety.safety_mode.name}"),
    "unlock protective stop": (True, (5, 0), _unlock),
    "close safety popup": (False, (5, 0), _says("closing safety popup")),
    "restart safety": (True, (5, 0), _restart_safety),
    "is in remote control": (False, (5, 6), lambda c, rest: str(c.remote_control).lower()),
    "get serial number": (False, (5, 6), lambda c, rest: c.settings.serial_number),
    # A UR5e calls itself UR5 here; the series follows from the version.
    "get robot model": (False, (5, 6), _says("UR5")),
}
