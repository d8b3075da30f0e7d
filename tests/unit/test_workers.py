"""Worlds in processes of their own: the same world, side by side, and no process left behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from worker_worlds import CheckedWorld, make_broken, make_checked, make_never

from vlasteer.errors import ConfigError, ConventionError, UnknownNameError, WorldError
from vlasteer.protocols import World
from vlasteer.types import EpisodeKey, Outcome
from vlasteer.workers import RemoteWorld, close_all

KEY = EpisodeKey(1, 2, 3)
UP = np.array([0, 0, 0.4, 0, 0, 0, 1.0])


def _gone(pid: int, patience_s: float = 20.0) -> bool:
    """Whether a process is gone, or goes within the patience. One that nobody collected still counts as there."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def _pid(world: RemoteWorld) -> int:
    assert world.pid is not None
    return world.pid


def test_a_remote_world_is_the_same_world() -> None:
    local = CheckedWorld("toy", horizon=9)
    with RemoteWorld("toy", {"horizon": 9}, factory=make_checked) as remote:
        assert isinstance(remote, World)
        for field in ("name", "tasks", "starts", "action_spec", "cameras", "state_names", "horizon", "facts"):
            assert getattr(remote, field) == getattr(local, field)
        for world in (local, remote):
            world.reset(KEY)
        while local.outcome is Outcome.RUNNING:
            look = local._steps % 3 == 0
            np.testing.assert_array_equal(remote.act(UP, look=look), local.act(UP, look=look))
            here, there = local.observe(), remote.observe()
            assert (there.instruction, there.time_s, remote.outcome) == (here.instruction, here.time_s, local.outcome)
            np.testing.assert_array_equal(there.state, here.state)
            assert set(there.images) == set(here.images) == ({"image"} if look else set())
        assert remote.outcome is local.outcome


def test_all_are_asked_before_any_is_waited_for() -> None:
    worlds = RemoteWorld.several(3, "toy", {"pause_s": 0.2}, factory=make_checked)
    try:
        for index, world in enumerate(worlds):
            world.reset_async(EpisodeKey(0, index, 0))
        for world in worlds:
            world.reset_wait()
        states = [world.observe().state for world in worlds]
        for world in worlds:
            world.act_async(UP)
        with pytest.raises(WorldError, match="act was begun while act is unfinished"):
            worlds[0].act_async(UP)
        executed = [world.act_wait() for world in worlds]
        for before, world, done in zip(states, worlds, executed, strict=True):
            np.testing.assert_allclose(world.observe().state, before + 0.05 * done[:3])
        with pytest.raises(WorldError, match="no act was begun"):
            worlds[0].act_wait()
    finally:
        close_all(worlds)


def test_errors_of_the_world_come_back_as_they_are_and_the_world_goes_on() -> None:
    with RemoteWorld("toy", factory=make_checked) as world:
        with pytest.raises(WorldError, match="toy has no episode"):
            world.observe()
        with pytest.raises(ConfigError, match="task 9 does not exist") as caught:
            world.reset(EpisodeKey(9, 0, 0))
        assert (caught.value.expected, caught.value.exit_status) == ("0 or 1", 2)
        world.reset(KEY)
        before = world.observe()
        with pytest.raises(ConventionError, match=r"contains NaN.*Steer less"):
            world.act(np.full(7, np.nan))
        assert world.observe() is before
        assert world.outcome is Outcome.RUNNING
        world.act(UP)
        assert world.observe().time_s == pytest.approx(0.05)


def test_a_defect_comes_back_as_a_world_error_with_its_traceback() -> None:
    with RemoteWorld("toy", factory=make_broken) as world:
        world.reset(KEY)
        with pytest.raises(WorldError, match="toy failed in act: ZeroDivisionError: a defect") as caught:
            world.act(np.array([1.0, 0, 0, 0, 0, 0, 0]))
        assert any("worker_worlds.py" in note for note in caught.value.__notes__)
        assert world.outcome is Outcome.FAILED
        world.reset(KEY)
        world.act(UP)
        assert world.outcome is Outcome.RUNNING


def test_errors_while_building_come_back_and_leave_no_process() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'such-world'"):
        RemoteWorld("no-such-world", factory=make_checked)
    with pytest.raises(WorldError, match="failed while it was built: TypeError"):
        RemoteWorld("toy", {"no_such_option": 1}, factory=make_checked)
    with pytest.raises(WorldError, match=r"ended with status 3"):
        RemoteWorld.several(2, "toy", factory=make_never)


@pytest.mark.parametrize(
    ("how", "message"), [(2.0, "was killed by SIGKILL.*fewer workers"), (3.0, "ended with status 7")]
)
def test_a_worker_that_dies_is_a_world_error(how: float, message: str) -> None:
    world = RemoteWorld("toy", factory=make_broken)
    pid = _pid(world)
    world.reset(KEY)
    with pytest.raises(WorldError, match=message):
        world.act(np.array([how, 0, 0, 0, 0, 0, 0]))
    assert _gone(pid, 0.1), "it was not collected"
    with pytest.raises(WorldError, match="closed"):
        world.reset(KEY)
    world.close()


def test_a_worker_that_is_killed_between_calls_is_a_world_error() -> None:
    world = RemoteWorld("toy", factory=make_checked)
    world.reset(KEY)
    os.kill(_pid(world), signal.SIGKILL)
    with pytest.raises(WorldError, match="killed by SIGKILL"):
        world.act(UP)
    world.close()


def test_a_worker_that_hangs_is_killed() -> None:
    world = RemoteWorld("toy", factory=make_broken)
    world._patience_s = 0.5  # from here on: starting the process takes longer than that
    pid = _pid(world)
    world.reset(KEY)
    with pytest.raises(WorldError, match=r"did not answer within 0\.5 s and was killed.*answer to act"):
        world.act(np.array([4.0, 0, 0, 0, 0, 0, 0]))
    assert _gone(pid, 0.1)


def test_closing_closes_the_world_and_collects_the_process(tmp_path: Path) -> None:
    world = RemoteWorld("toy", {"noted": str(tmp_path / "note")}, factory=make_checked)
    pid = _pid(world)
    world.close()
    world.close()
    assert _gone(pid, 0.1)
    assert (tmp_path / "note").read_text(encoding="utf-8") == "closed"


def test_closing_a_busy_worker_does_not_wait_for_it() -> None:
    world = RemoteWorld("toy", factory=make_broken)
    pid = _pid(world)
    world.reset(KEY)
    world.act_async(np.array([4.0, 0, 0, 0, 0, 0, 0]))
    world.close()
    assert _gone(pid, 0.1)


PARENT = """
import sys, time
import numpy as np
from worker_worlds import make_broken
from vlasteer.types import EpisodeKey
from vlasteer.workers import RemoteWorld

if __name__ == "__main__":
    idle, busy = RemoteWorld.several(2, "toy", factory=make_broken)
    for world in (idle, busy):
        world.reset(EpisodeKey(0, 0, 0))
    idle.act(np.zeros(7))
    busy.act_async(np.array([4.0, 0, 0, 0, 0, 0, 0]))
    print(idle.pid, busy.pid, flush=True)
    if sys.argv[1] == "wait":
        time.sleep(600)
"""


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGINT", "return"])
def test_workers_go_with_their_parent(tmp_path: Path, ending: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, str(script), "return" if ending == "return" else "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        assert parent.stdout is not None
        line = parent.stdout.readline()
        children = [int(word) for word in line.split()]
        assert len(children) == 2, f"a world's print reached the parent's standard output: {line!r}"
        if ending != "return":
            parent.send_signal(getattr(signal, ending))
        parent.wait(30)
        assert all(_gone(child) for child in children)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_closing_several_closes_the_others_when_one_fails() -> None:
    class Stubborn(CheckedWorld):
        def close(self) -> None:
            raise OSError("stuck")

    worlds = [CheckedWorld("a"), Stubborn("b"), CheckedWorld("c")]
    with pytest.raises(OSError, match="stuck"):
        close_all(worlds)
    assert worlds[0].closed
    assert worlds[2].closed
