"""Both connections of one servo process to its controller, from the first question to the last goodbye."""

from __future__ import annotations

import time
from dataclasses import replace

from vlasteer.errors import WorldError
from vlasteer.robots.ur import dashboard
from vlasteer.robots.ur.client import PLAYING, ControlClient, ReceiveClient, RobotState
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.preflight import Check, checks, survey

_NEWS_S = 1.0


class Connection:
    """Connects, and compares the controller with the robot file. Moves nothing.

    The control connection, whose script idles on the controller then, is made when everything that can be known without
    it is right, and never in a dry run.

    SIGIO says that the controller has cut its connections (`dashboard.sentinel`); a handler has to stand before.

    Args:
        config: the robot.
        dry_run: receive only.

    Attributes:
        receive: reads the arm.
        control: moves it; None in a dry run, or where a row is wrong.
        rows: the table of the preflight.

    Raises:
        WorldError: the controller does not answer, or refuses the control connection.
    """

    def __init__(self, config: RobotConfig, *, dry_run: bool) -> None:
        self._host, self._sentinel = config.host, dashboard.sentinel(config.host)
        self.receive = ReceiveClient(config.host, config.rtde_rate_hz)
        self.control: ControlClient | None = None
        found = survey(config.host, self.receive, self.fresh_state())
        self.rows: list[Check] = checks(config, found)
        if not dry_run and all(row.ok for row in self.rows if row.name != "tcp"):
            self.control = ControlClient(config.host, config.rtde_rate_hz, self.receive)
            offset = self.control.tcp_offset()
            self.rows = checks(config, replace(found, state=self.fresh_state(), tcp_offset=offset))

    @property
    def closed(self) -> bool:
        """Whether the client noticed that a connection has ended; it does not notice a stall."""
        return self.control is not None and not self.control.connected

    def fresh_state(self) -> RobotState:
        """A state that has just come; the first one of a connection may need a moment.

        Raises:
            WorldError: none came in a second.
        """
        deadline = time.monotonic() + _NEWS_S
        before = self.receive.read().timestamp
        while (state := self.receive.read()).timestamp == before:
            if time.monotonic() > deadline:
                raise WorldError(f"{self._host} sends no robot state", fix="Check the network and the pendant")
            time.sleep(0.002)
        return state

    def stop(self, state: RobotState) -> None:
        """End servoing and the program, at once. `state` is fresh."""
        if self.control is None:
            return
        if state.may_move and state.runtime_state == PLAYING:
            self.control.stop()
        else:  # a paused script would go on where it was; the client's own stop would wait for it
            self.cut()

    def cut(self) -> None:
        """End the program over the dashboard; for when the state is not known. At most half a second."""
        if self.control is not None:
            dashboard.stop_program(self._host)

    def unlock(self) -> RobotState:
        """Unlock a protective stop, if there is one, and give the state after it.

        Raises:
            WorldError: the controller refuses, or something else still stops the arm.
        """
        state = self.fresh_state()
        if state.safety == "protective stop" and self.control is not None:
            dashboard.unlock_protective_stop(self._host)
            deadline = time.monotonic() + _NEWS_S
            while not state.may_move and time.monotonic() < deadline:
                time.sleep(0.01)
                state = self.receive.read()
        if not state.may_move:
            raise WorldError(f"the controller says: {state.safety}", fix="Clear it at the pendant, then confirm again")
        return state

    def close(self) -> None:
        """End the program, if it runs, then the control connection; the other ends with the process. Half a second."""
        if self.control is not None:
            if self.receive.runtime_state() == PLAYING:
                self.control.stop()
            self.control.disconnect()
