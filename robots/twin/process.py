"""A twin in a process of its own, for tests and for `--robot twin`.

It has to be another process than the client's: `ur_rtde`'s constructors hold the interpreter lock while they wait for
the controller's answers.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError, WorldError
from vlasteer.robots.twin.hook_channel import HookClient
from vlasteer.robots.twin.settings import TwinSettings


class TwinProcess:
    """Context manager: inside, a twin serves at `host`; on leaving, its process has ended.

    Args:
        settings: what it pretends to be; by default a UR5e at a free loopback address.
        plant: "kinematic", or "module:function" that makes a `Plant` of the settings (see `vlasteer.launch.twin`).
        timeout_s: how long it may take to listen.
        options: fields of the settings, in place of theirs.

    Raises:
        ConfigError: settings that cannot be, or an address that cannot be had.
        WorldError: it did not start.
    """

    def __init__(
        self,
        settings: TwinSettings | None = None,
        *,
        plant: str = "kinematic",
        timeout_s: float = 30.0,
        **options: Any,
    ) -> None:
        self.settings = replace(settings or TwinSettings(host="auto"), **options)
        self._plant, self._timeout_s = plant, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._hooks: HookClient | None = None
        self.host = ""

    def __enter__(self) -> TwinProcess:
        request = json.dumps({"settings": asdict(self.settings), "plant": self._plant})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vlasteer.robots.twin", request],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C must not end a controller before the arm was stopped
        )
        try:
            self.host = self._first_line(self._process)
            self._hooks = HookClient(self.host)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hooks is not None:
            self._hooks.close()
            self._hooks = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def pid(self) -> int:
        """Process id of the twin."""
        return self._running().pid

    @property
    def hooks(self) -> HookClient:
        """The hook channel."""
        if self._hooks is None:
            raise WorldError("this twin is not running", fix="Use TwinProcess in a 'with' statement")
        return self._hooks

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook; see `vlasteer.robots.twin.hooks`."""
        return self.hooks.call(hook, **arguments)

    def state(self) -> dict[str, Any]:
        """Everything of interest now."""
        return self.hooks.state()

    def log(self, since: int = 0, *kinds: str) -> list[dict[str, Any]]:
        """The wire log from entry number `since` on, of these kinds (default: all)."""
        return self.hooks.log(since, kinds)

    def trace(self, since: float = 0.0) -> NDArray[np.float64]:
        """Rows [n, 13] of clock, joint setpoint and measured angles from that clock on."""
        return self.hooks.trace(since)

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0) -> dict[str, Any]:
        """The first state that fulfils a condition.

        Raises:
            WorldError: none did in that time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            state = self.state()
            if condition(state):
                return state
            if time.monotonic() > deadline:
                raise WorldError(f"the twin did not come to the awaited state in {timeout_s} s; it is {state}")
            time.sleep(0.01)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise WorldError("this twin is not running", fix="Use TwinProcess in a 'with' statement")
        return self._process

    def _first_line(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], self._timeout_s)[0]:
            raise WorldError(f"the twin did not start in {self._timeout_s} s")
        line = process.stdout.readline()
        if not line:
            raise WorldError(f"the twin's process ended with status {process.wait()}; its output says why")
        answer = json.loads(line)
        if "error" in answer:
            raise ConfigError(answer["error"], expected=answer["expected"], fix=answer["fix"])
        return answer["host"]
