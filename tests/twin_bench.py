"""A twin's controller without a network, whose time passes as fast as the machine can; for unit tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vlasteer.robots.twin.controller import Controller
from vlasteer.robots.twin.plant import KinematicPlant
from vlasteer.robots.twin.settings import TwinSettings
from vlasteer.robots.twin.urscript import Upload

CONTROL_SCRIPT = """def rtde_control():
    global reg_offset_int = # int register offset
{offset}
    def exec_move_path():
        # inject move path
{path}    end
    def rtde_cmd():
    end
    def process_cmd(cmd):
    end
end
"""


class Bench:
    """A controller with the control script running, commanded through its registers as the client does."""

    def __init__(self, **options: Any) -> None:
        settings = TwinSettings(**options)
        self.plant = KinematicPlant(settings.joints)
        self.controller = Controller(settings, self.plant)

    @property
    def q(self) -> np.ndarray:
        return self.plant.q

    def upload(self, path: str = "", offset: int = 0) -> bool:
        """Upload the control script."""
        text = CONTROL_SCRIPT.format(offset=offset, path=path)
        started = self.controller.load(Upload("rtde_control", text), "test")
        self.run(0.01)
        return started

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / self.controller.dt)):
            self.controller.tick()

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> float:
        """Let time pass until something is so; return how much did."""
        started = self.controller.time_s
        while not condition():
            assert self.controller.time_s - started < seconds, "it never came"
            self.controller.tick()
        return self.controller.time_s - started

    def order(self, command: int, *floats: float, flag: int = 0) -> None:
        """Write a command and its arguments, as one data package of the client does."""
        io = self.controller.io
        io.float_in[: len(floats)] = [float(v) for v in floats]
        io.int_in[1] = flag
        io.int_in[0] = command
        io.written_at["input_int_register_0"] = self.controller.time_s
        self.controller.tick()

    def do(self, command: int, *floats: float, flag: int = 0) -> float:
        """Order a command that acts once, wait until it is done, clear it; return how long it took."""
        self.order(command, *floats, flag=flag)
        took = self.until(lambda: self.controller.io.int_out[0] == 2 or not self.controller.program_running)
        self.order(0)
        return took

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The wire log's entries of a kind."""
        return self.controller.log.read(0, (kind,), 1_000_000)[0]
