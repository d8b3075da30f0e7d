"""The page: what a person drives by. A sink of steps and an `on_tick` of the live loop that block neither."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vlasteer.kinematics import UR5E, ArmModel
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.page.arm_pose import ArmPose, follower_of
from vlasteer.launch.page.arm_view import ArmView
from vlasteer.launch.page.cameras import Cameras, Image
from vlasteer.launch.page.console import console_html, index_html, state_of
from vlasteer.launch.page.gate import Gate, close_server, open_server
from vlasteer.launch.page.lamps import lamps
from vlasteer.launch.page.operator import OperatorDesk
from vlasteer.launch.page.plots import Plots

if TYPE_CHECKING:
    from vlasteer.live import LiveStatus
    from vlasteer.types import ActionSpec, EpisodeInfo, Outcome, StepRecord

DRAW_S = 1 / 12
"""Between two drawings of arm, console and pictures."""
_PLOT_EVERY = 3
_REST = 4.0  # times a browser's lag
_LEFT_WIDTH, _RIGHT_WIDTH = 400, 380


class Page:
    """A web page on a board and a live loop; it serves from construction to `close`. A context manager.

    The loop calls `tick` once per control period, and `open`, `step`, `close` as of any sink. They leave the newest in
    a slot and return at once; a thread draws what is there 12 times a second while anybody looks. What the person says
    is heard by the server's own thread. The page closes with its context, not with an episode.

    Args:
        board: written to as the source "page".
        world_name: of the world; also tells whether the arm of a simulation can be drawn.
        cameras: names of the images of an observation.
        knobs: of the board, in the order in which they are shown.
        rate_hz: nominal control rate.
        host: address to listen on; anything beyond this machine wants a token.
        port: TCP port; 0 for a free one.
        token: see `Gate`.
        dry_run: show that nothing that moves is sent.
        packs: feature packs by name with the names of their knobs, when there are several to choose from.
        arm: whose shape is drawn.
        action_spec: tells the plot of actions their names and unit before a first recorded episode does.
        look: newest image of each camera, asked for by the page's own thread; default: what the policy was shown,
            which between its answers does not change.

    Raises:
        ConfigError: an address beyond this machine without a token, or a port that is taken.
        MissingDependencyError: viser is not installed.
    """

    def __init__(
        self,
        board: KnobBoard,
        *,
        world_name: str,
        cameras: Sequence[str],
        knobs: Mapping[str, Knob],
        rate_hz: float,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        dry_run: bool = False,
        packs: Mapping[str, Sequence[str]] | None = None,
        arm: ArmModel = UR5E,
        action_spec: ActionSpec | None = None,
        look: Callable[[], Mapping[str, Image]] | None = None,
    ) -> None:
        self._gate = Gate(host, port, token)
        self._board, self._rate_hz = board, rate_hz
        known = {name: tuple(members) for name, members in (packs or {}).items()}
        self._desk = OperatorDesk(board, known)
        routes = {"/operator": self._desk.serve}
        try:
            self._server = open_server(self._gate, index=index_html(), routes=routes, label="vlasteer")
        except BaseException:
            self._desk.source.close()
            raise
        self._follower = follower_of(world_name, arm)
        server, gui = self._server, self._server.gui
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=(77, 171, 247))
        gui.main_panel.dock_right()
        gui.main_panel.set_width(_RIGHT_WIDTH)
        gui.add_html(console_html(world_name, knobs, tuple(known), dry_run=dry_run))
        views = gui.add_panel()
        with views.add_tab("View"):
            self._cameras = Cameras(server, cameras)
            self._plots = Plots(server, knobs)
        if action_spec is not None:
            self._plots.describe_actions(action_spec)
        views.dock_left()
        views.set_width(_LEFT_WIDTH)
        self._arm = ArmView(server, self._follower.arm, self._follower.base)
        self._status: LiveStatus | None = None
        self._pose: ArmPose | None = None
        self._images: Mapping[str, Image] = {}
        self._look = look
        self._task = self._trouble = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw_until_closed, name="page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to point a browser, token included."""
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self._gate.host, self._gate.host)
        host = f"[{host}]" if ":" in host else host
        token = "" if self._gate.token is None else f"?token={self._gate.token}"
        return f"http://{host}:{self._server.get_port()}/{token}"

    @property
    def tabs(self) -> int:
        """How many browsers are connected."""
        return self._desk.tabs

    # --- what the loop calls ------------------------------------------------------------------------------------------
    def open(self, episode: EpisodeInfo) -> None:
        """A recorded episode begins: a take of what is seen, which goes on before and after it."""
        self._plots.describe_actions(episode.action_spec)
        self._task = episode.instruction

    def step(self, record: StepRecord) -> None:
        """A step was made; `tick` tells it as well, with more."""

    def close(self, outcome: Outcome) -> None:
        """The episode ended; the page stays."""

    def tick(self, status: LiveStatus) -> None:
        """Take the newest status. Some microseconds; never waits."""
        pose = self._follower.read(status)
        record, images = status.record, self._images
        if record is not None:
            self._plots.default_names(len(record.action))
            images = record.observation.images or images
        if images is self._images and status.observation is not None:
            images = status.observation.images or images
        self._plots.add(
            time.monotonic(),
            None if record is None else record.action,
            math.nan if pose is None else pose.speed,
            math.nan if pose is None else float(pose.position[2]),
            status.reading,
        )
        self._pose, self._images = pose or self._pose, images
        self._status = status

    # --- life ---------------------------------------------------------------------------------------------------------
    def shut(self) -> None:
        """Close the page: tabs are told, the hold is released. Idempotent."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join(timeout=5.0)
        self._desk.source.close()
        close_server(self._server)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()

    # --- the drawing thread -------------------------------------------------------------------------------------------
    def _draw_until_closed(self) -> None:
        drawn, next_s = 0, 0.0
        while not self._ended.wait(DRAW_S):
            self._desk.state_text = self._state()
            now = time.monotonic()
            if not self.tabs or now < next_s:
                continue  # nobody looks: nothing is drawn, and nothing piles up
            drawn += 1
            try:
                self._draw(now, plots=drawn % _PLOT_EVERY == 0)
                self._trouble = ""
            except Exception as error:  # noqa: BLE001 - a picture that cannot be drawn must not end hold-to-run and lamps
                self._trouble = f"the page cannot draw: {error}"
            # A browser that is slow to answer is given time: drawing must not cost the operator the hold.
            next_s = now + min(_REST * self._desk.lag_s, 1.0)

    def _draw(self, now: float, *, plots: bool) -> None:
        if self._pose is not None:
            self._arm.draw(self._follower.solve(self._pose))
        self._cameras.draw(self._images if self._look is None else self._look())
        if plots:
            self._plots.draw(now)

    def _state(self) -> str:
        status, board = self._status, self._board.state()
        latency = math.nan if status is None else status.knob_latency_s
        chosen = self._desk.packs.get(self._desk.pack)
        of_packs = {name for members in self._desk.packs.values() for name in members}
        return state_of(
            status,
            board,
            lamps(status, board, self._rate_hz, latency),
            trouble=self._trouble,
            task=self._task if status is None or status.observation is None else status.observation.instruction,
            pack=self._desk.pack,
            hidden=[] if chosen is None else sorted(of_packs - set(chosen)),
            tabs=self.tabs,
        )
