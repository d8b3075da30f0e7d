"""The page in a real browser: what a finger does there reaches the model and the arm, and nothing else does."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from page_session import wait_for

from vlasteer.types import Outcome

pytestmark = pytest.mark.slow


def test_a_slider_changes_the_buffer_in_the_model(tab, session):
    applied = session.port.applied
    assert applied()["fast"] is None
    tab.drag("fast", 0.25)
    setpoint = wait_for(lambda: session.board.state().knobs["fast"].setpoint)
    assert setpoint == pytest.approx(8.0, abs=1.5)
    assert session.board.state().knobs["fast"].source == "page"
    tab.hold(session.board, until=lambda: applied()["fast"] == setpoint)
    wait_for(lambda: tab.text("applied:fast") == f"{setpoint:.2f}".rstrip("0").rstrip("."))
    tab.let_go()
    tab.of("switch", "fast").click()
    tab.hold(session.board, until=lambda: applied()["fast"] is None)
    wait_for(lambda: tab.text("applied:fast") == "off")


def test_pressing_runs_and_letting_go_pauses(tab, session):
    wait_for(session.stands_still)
    before = session.step
    tab.hold(session.board, until=lambda: session.step > before and tab.text("phase") == "running")
    tab.let_go()
    wait_for(session.stands_still)
    assert not session.board.held()
    wait_for(lambda: tab.text("phase") == "paused")


def test_a_closed_tab_stops_the_arm(own_tab, session):
    own_tab.hold(session.board)
    own_tab.close()
    wait_for(lambda: not session.board.held(), 2.0)
    wait_for(session.stands_still)


def test_a_frozen_browser_stops_the_arm(tab, session):
    tab.hold(session.board)
    tab.driver.execute_script("setTimeout(() => { const end = Date.now() + 1500; while (Date.now() < end); }, 0)")
    wait_for(lambda: not session.board.held(), 1.4)
    # It comes back with the button still down, and that moves nothing.
    wait_for(lambda: "lapsed" in tab.of("hold").get_attribute("class"))
    assert not session.board.held()


def test_a_hidden_tab_lets_go(tab, session):
    tab.hold(session.board)
    tab.driver.switch_to.new_window("tab")
    wait_for(lambda: not session.board.held(), 2.0)
    tab.driver.close()
    tab.show()


def test_a_second_tab_watches(tab, own_tab, session):
    wait_for(lambda: session.page.tabs == 2)
    tab.show()
    tab.hold(session.board)
    number = max(session.page._desk._lease._sent)  # the later tab; one browser has one mouse to press with
    assert '"hold":"other"' in session.page._desk.tick(number, time.monotonic())


def test_stop_ends_the_episode(tab, session):
    ended = len(session.outcomes)
    tab.of("stop").click()
    wait_for(lambda: len(session.outcomes) > ended)
    assert session.outcomes[-1] is Outcome.STOPPED
    wait_for(session.stands_still)


def test_words_reach_the_policy(tab, session):
    box = tab.all("[data-vl-say] textarea")[0]
    box.clear()
    box.send_keys("put the red cube in the green box")
    tab.all("[data-vl-say] button")[0].click()
    wait_for(lambda: session.board.state().instruction == "put the red cube in the green box")
    before = session.step
    tab.hold(session.board, until=lambda: session.step > before)
    assert session.status.observation.instruction == "put the red cube in the green box"


def test_recording_and_marks(tab, session):
    wait_for(lambda: tab.of("record").text == "Stop recording")
    tab.of("record").click()
    wait_for(lambda: not session.board.state().recording)
    wait_for(lambda: tab.of("record").text == "Start recording")
    tab.of("record").click()
    wait_for(lambda: session.board.state().recording)
    marks = []
    session.page.tick, before = lambda status: (marks.extend(status.reading.marks), before(status)), session.page.tick
    try:
        tab.of("mark").click()
        wait_for(lambda: marks == [""])
    finally:
        session.page.tick = before


def test_the_chosen_pack_is_what_is_shown(tab, session):
    from selenium.webdriver.support.select import Select

    tab.of("knob", "high")
    wait_for(lambda: not tab.of("knob", "high").is_displayed())
    Select(tab.of("pack")).select_by_visible_text("all")
    wait_for(lambda: tab.of("knob", "high").is_displayed())
    tab.drag("high", 0.2)
    wait_for(lambda: session.board.state().knobs["high"].setpoint)
    Select(tab.of("pack")).select_by_visible_text("paces")
    wait_for(lambda: not tab.of("knob", "high").is_displayed())
    wait_for(lambda: session.board.state().knobs["high"].setpoint is None)


def test_plots_pictures_and_scene_follow(tab, session):
    before = session.step
    tab.hold(session.board, until=lambda: session.step > before + 5)
    charts = "return Object.values(window.__viserTestpoints.uplots).map(u => u.chart.data[0].length)"
    wait_for(lambda: min(tab.driver.execute_script(charts), default=0) > 5)
    assert len(tab.driver.execute_script(charts)) == 4
    width = "return Math.max(...[...document.images].map(image => image.naturalWidth))"
    wait_for(lambda: tab.driver.execute_script(width) >= 400)
    rows = session.page._plots.history.since(-math.inf)
    assert np.nanmax(rows[:, 9]) > 0, "the tool moved, and its speed was noticed"
