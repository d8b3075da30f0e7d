"""A tab of the page in a Chromium without a screen, and a session at the tabletop behind it, for tests."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vlasteer.knobs import KnobBoard
from vlasteer.live import LiveOptions, LiveStatus, run_live
from vlasteer.runtime import PlannedEpisode
from vlasteer.steering import Port
from vlasteer.types import EpisodeInfo, EpisodeKey, Outcome

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=900,900",  # little room for the scene, which is drawn in software here
)

_PR_CAPBSET_DROP, _CAP_SYS_NICE = 24, 23


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true answer of `what`."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"still false after {seconds} s"
        time.sleep(0.02)
    return found


def open_chromium(profile: str) -> Any:
    """Debian's Chromium, driven by selenium, with an empty profile folder.

    It draws in software. As root it would put itself before all others to do so, the twin and its driver included.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra 'dev')")
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(paths):
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    libc = ctypes.CDLL(None)

    def be_modest() -> None:
        libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE)
        os.setsid()  # Linux may share its processors between sessions: those of tests and browser are two

    service = webdriver.ChromeService(paths[1], popen_kw={"preexec_fn": be_modest})
    return webdriver.Chrome(options=options, service=service)


class Tab:
    """The page in a browser, as a person uses it."""

    def __init__(self, driver: Any, url: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        self.driver, self._chains = driver, ActionChains
        driver.switch_to.new_window("tab")
        self.handle = driver.current_window_handle
        driver.get(url)
        wait_for(lambda: self.all("[data-vl-hold]") and "none" not in self.of("hold").get_attribute("class"), 60.0)

    def all(self, selector: str) -> list[Any]:
        """Elements by their selector."""
        return self.driver.find_elements("css selector", selector)

    def of(self, name: str, value: str = "") -> Any:
        """The element with the attribute `data-vl-NAME` (of that value)."""
        return self.all(f"[data-vl-{name}{'=' + chr(34) + value + chr(34) if value else ''}]")[0]

    def text(self, name: str) -> str:
        """Of what changes, by its name."""
        return self.all(f'[data-vl="{name}"]')[0].text

    def hold(self, board: KnobBoard, until: Callable[[], Any] = lambda: True, presses: int = 20) -> None:
        """Press and hold until something is so. Where the machine is so busy that a hold lapses, press again."""
        for _ in range(presses):
            self._chains(self.driver, duration=20).move_to_element(self.of("hold")).click_and_hold().perform()
            time.sleep(0.2)
            while board.held():
                if until():
                    return
                time.sleep(0.02)
            self.let_go()
        pytest.fail(f"not within {presses} presses")

    def let_go(self) -> None:
        """Let go of the mouse."""
        self._chains(self.driver, duration=20).release().perform()

    def drag(self, knob: str, share: float) -> None:
        """Drag a knob's slider by so much of its length."""
        slider = self.of("slider", knob)
        way = round(share * slider.size["width"])
        self._chains(self.driver, duration=100).click_and_hold(slider).move_by_offset(way, 0).release().perform()

    def show(self) -> None:
        """Bring the tab to the front."""
        self.driver.switch_to.window(self.handle)

    def close(self) -> None:
        """Close the tab."""
        if self.handle in self.driver.window_handles:
            self.driver.switch_to.window(self.handle)
            self.driver.close()
        self.driver.switch_to.window(self.driver.window_handles[0])


class Session:
    """openvla-nano at the tabletop, episode after episode, in a thread; `port` is the model's own buffers."""

    def __init__(self, board: KnobBoard, port: Port, policy: Any, make: Callable[[], Any], page: Any) -> None:
        self.board, self.port, self.page = board, port, page
        self.status: LiveStatus | None = None
        self.outcomes: list[Outcome] = []
        self._policy, self._make, self._over = policy, make, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def step(self) -> int:
        """Control steps of this episode."""
        return 0 if self.status is None else self.status.step

    def stands_still(self, seconds: float = 0.4) -> bool:
        """Whether no step is made for so long."""
        before = self.step
        time.sleep(seconds)
        return self.step == before

    def end(self) -> None:
        """End the thread."""
        self._over.set()
        self.board.source("test", live=False).stop()
        self._thread.join(20.0)

    def _tick(self, status: LiveStatus) -> None:
        self.status = status
        self.page.tick(status)

    def _run(self) -> None:
        world, key = self._make(), EpisodeKey(0, 0, 0)  # here, for OpenGL is of one thread
        info = EpisodeInfo(0, key, world.tasks[0], "live", world.name, world.action_spec, self.port.names)
        while not self._over.is_set():
            self.board.rearm()
            info = replace(info, index=info.index + 1)
            ended = run_live(
                self._policy,
                world,
                PlannedEpisode(info, {}),
                sinks=lambda _: [self.page],
                board=self.board,
                port=self.port,
                options=LiveOptions(look_always=False),
                on_tick=self._tick,
            )
            self.outcomes.append(ended)
        world.close()
