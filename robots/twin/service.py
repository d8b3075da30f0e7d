"""A controller on the network: the ports, the clock, the end.

One event loop in one thread. The control period is kept against the monotonic clock: a late period is caught up with at
once, up to a tenth of a second; what is later than that is lost, and the controller's clock falls behind the wall clock
(as little as possible happens then: nothing in a controller looks at the wall clock).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import math
import os
import selectors
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError
from vlasteer.robots.twin.connections import DashboardConnection, GripperConnection, Network, ScriptConnection
from vlasteer.robots.twin.controller import Controller
from vlasteer.robots.twin.hook_channel import HookConnection
from vlasteer.robots.twin.plant import Plant
from vlasteer.robots.twin.rtde_server import RtdeConnection
from vlasteer.robots.twin.settings import (
    DASHBOARD_PORT,
    GRIPPER_PORT,
    HOOK_PORT,
    RTDE_PORT,
    SCRIPT_PORTS,
    TwinSettings,
)
from vlasteer.robots.twin.wire_log import WireLog

_CATCH_UP_S = 0.1
_FLUSH_S = 0.5
_PRIORITY = -10  # nice value
_TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


class TwinService:
    """One twin, serving.

    Attributes:
        host: the address, chosen when `start` returns.
        late_periods: control periods that began more than 10 ms late.
    """

    def __init__(self, settings: TwinSettings, plant: Plant) -> None:
        self.controller = Controller(settings, plant, WireLog(settings.log_file))
        self.network = Network(self.controller)
        self.host = settings.host
        self.late_periods = 0
        self.channels: set[asyncio.Transport] = set()
        self._servers: list[asyncio.Server] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stopped = asyncio.Event()
        self._artist = ThreadPoolExecutor(1, "twin-camera")  # a GL context belongs to one thread
        self._next_tick = 0.0
        self._closed = False

    async def start(self) -> None:
        """Listen on all ports, and let time begin.

        Raises:
            ConfigError: the address is taken, or does not exist on this machine.
        """
        refusal = None
        for host in _free_hosts() if self.host == "auto" else (self.host,):
            try:
                await self._listen(host)
                break
            except OSError as error:
                await self._close_servers()
                refusal = error
                if error.errno not in _TAKEN:
                    break
        else:
            host = ""
        if not self._servers:
            raise ConfigError(
                f"no twin can listen at {self.host} ({refusal})",
                fix="Choose another --host such as 127.0.0.3, or end what listens on the ports of this one",
            ) from refusal
        self.host = host
        self.controller.settings = replace(self.controller.settings, host=host)
        # A collection of all that the log holds would take longer than many control periods.
        gc.collect()
        gc.freeze()
        gc.disable()
        loop = asyncio.get_running_loop()
        self._next_tick = loop.time()
        loop.call_soon(self._tick)
        loop.call_later(_FLUSH_S, self._housekeeping)

    async def run(self) -> None:
        """Serve until `stop` is called."""
        await self._stopped.wait()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped.set()

    async def close(self) -> None:
        """Close ports, connections, log and plant. Idempotent."""
        self._stopped.set()
        for timer in self._timers.values():
            timer.cancel()
        await self._close_servers()
        self.network.drop()
        for channel in list(self.channels):
            channel.close()
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._artist, self.controller.plant.close)
            self._artist.shutdown()
        self.controller.log.close()
        gc.enable()
        gc.unfreeze()

    def later(self, seconds: float, action: Callable[[], object], name: str) -> None:
        """Do something after that time, in place of what was planned under that name; never for infinity, now for 0."""
        if name in self._timers:
            self._timers.pop(name).cancel()
        if seconds <= 0:
            action()
        elif math.isfinite(seconds):
            self._timers[name] = asyncio.get_running_loop().call_later(seconds, action)

    def draw(self, camera: str) -> asyncio.Future[NDArray[np.uint8]]:
        """Picture of a camera at this moment."""
        plant = self.controller.plant
        return asyncio.get_running_loop().run_in_executor(self._artist, plant.draw, camera, plant.snapshot())

    def status(self) -> str:
        """One line about now."""
        c = self.controller
        angles = " ".join(f"{angle:+.2f}" for angle in c.plant.q)
        return (
            f"{c.settings.model} {c.version} at {self.host} | {c.safety.robot_mode.name} {c.safety.safety_mode.name} | "
            f"{c.runtime_state.name} | q {angles} | {len(self.network.connections)} connections"
        )

    def _tick(self) -> None:
        if self._stopped.is_set():
            return
        loop = asyncio.get_running_loop()
        self.controller.tick()
        for session in list(self.network.of(RtdeConnection)):
            session.stream()
        now = loop.time()
        self._next_tick += self.controller.dt
        if now - self._next_tick > _CATCH_UP_S:
            self._next_tick = now
        self.late_periods += now - self._next_tick > 0.01
        loop.call_at(self._next_tick, self._tick)

    def _housekeeping(self) -> None:
        if self._stopped.is_set():
            return
        self.controller.log.flush()
        gc.collect(1)  # the young generations only
        asyncio.get_running_loop().call_later(_FLUSH_S, self._housekeeping)

    async def _listen(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        factories = {
            **{port: lambda: ScriptConnection(self.network) for port in SCRIPT_PORTS},
            RTDE_PORT: lambda: RtdeConnection(self.network),
            DASHBOARD_PORT: lambda: DashboardConnection(self.network),
            GRIPPER_PORT: lambda: GripperConnection(self.network),
            HOOK_PORT: lambda: HookConnection(self),
        }
        for port, factory in factories.items():
            self._servers.append(await loop.create_server(factory, host, port))

    async def _close_servers(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop with timers finer than a millisecond, which epoll's are not."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def serve(settings: TwinSettings, plant: Plant, on_ready: Callable[[TwinService], None]) -> None:
    """Serve a twin until it is stopped, by hook or by SIGTERM; `on_ready` is called when its ports listen.

    Raises:
        ConfigError: the address cannot be had.
        KeyboardInterrupt: on SIGINT, after everything was closed.
    """

    async def main() -> None:
        service = TwinService(settings, plant)
        try:
            await service.start()
            with contextlib.suppress(NotImplementedError, ValueError):  # not on Windows, not outside of the main thread
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.stop)
            on_ready(service)
            await service.run()
        finally:
            await service.close()

    with contextlib.suppress(OSError, AttributeError):  # a controller goes before other work, where that is allowed
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
        if os.getsid(0) == os.getpid():  # Linux may share its processors between sessions, whatever is nice in them
            Path("/proc/self/autogroup").write_text(str(_PRIORITY), encoding="ascii")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def _free_hosts() -> Iterator[str]:
    """Loopback addresses that are probably free, different for every process; the usual one last."""
    seed = os.getpid()
    for i in range(64):
        seed = (seed * 1103515245 + 12345 + i) % 2**31
        yield f"127.{20 + seed % 200}.{seed // 200 % 250}.{2 + seed // 50_000 % 250}"
    yield "127.0.0.1"
