"""A session at the tabletop with its page, and a Chromium to look at it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from page_session import Session, Tab, open_chromium, wait_for

from vlasteer.knobs import Knob, KnobBoard
from vlasteer.registry import load_policy, make_world
from vlasteer.steering import Steering, steer


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One for all tests."""
    with tempfile.TemporaryDirectory() as profile:
        driver = open_chromium(profile)
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One for all tests of a module."""
    pytest.importorskip("viser", reason="viser is not installed (extra 'page')")
    from vlasteer.launch.options import load_pack
    from vlasteer.launch.page import Page

    policy = load_policy("openvla-nano", world="tabletop_transport", self_test=False)
    names = ["fast", "high"]
    pack = load_pack(policy, None, names)
    steering = sum((Steering.of(pack[name], None) for name in names), start=Steering())
    board = KnobBoard([*(Knob.feature(name, 8.0) for name in names), Knob.speed()])
    packs = {"paces": ("fast",), "all": tuple(names)}
    page = Page(
        board,
        world_name="tabletop_transport",
        cameras=("image", "image2"),
        knobs=board.knobs,
        rate_hz=20.0,
        port=0,
        packs=packs,
    )
    with page, steer(policy, steering) as port:
        running = Session(board, port, policy, lambda: make_world("tabletop_transport", horizon=10**6), page)
        yield running
        running.end()


@pytest.fixture(scope="module")
def shared_tab(chromium: Any, session: Session) -> Iterator[Tab]:
    """One tab for the tests that leave it open."""
    opened = Tab(chromium, session.page.url)
    yield opened
    opened.close()


@pytest.fixture
def tab(shared_tab: Tab, session: Session) -> Iterator[Tab]:
    """The tab in front, nothing pressed, the arm at rest."""
    shared_tab.show()
    yield shared_tab
    shared_tab.let_go()
    wait_for(lambda: not session.board.held())


@pytest.fixture
def own_tab(chromium: Any, session: Session) -> Iterator[Tab]:
    """A further tab, which the test may close."""
    before = session.page.tabs
    opened = Tab(chromium, session.page.url)
    yield opened
    opened.close()
    wait_for(lambda: session.page.tabs == before)
