"""The choice of the OpenGL back end. In processes of its own: it is made once, before mujoco is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vlasteer.envs.gl import OFFSCREEN

REPORT = """
import json, os
from vlasteer.envs.gl import choose_gl
print(json.dumps([choose_gl(), os.environ.get("MUJOCO_GL"), os.environ.get("PYOPENGL_PLATFORM")]))
"""


def run(code: str, **environment: str) -> str:
    bare = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**bare, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="mujoco's own choice stands elsewhere than on Linux")
def test_it_chooses_and_tells_everybody() -> None:
    chosen, mujoco_gl, platform = json.loads(run(REPORT))
    if chosen not in OFFSCREEN:
        pytest.skip("neither EGL nor OSMesa on this machine")
    assert mujoco_gl == platform == chosen


@pytest.mark.parametrize("wanted", [*OFFSCREEN, "glfw"])
def test_the_users_choice_stands(wanted: str) -> None:
    chosen, mujoco_gl, platform = json.loads(run(REPORT, MUJOCO_GL=wanted))
    assert chosen == mujoco_gl == wanted
    assert platform == (wanted if wanted in OFFSCREEN else None)


def test_after_mujoco_it_changes_nothing() -> None:
    assert json.loads(run(f"import mujoco\n{REPORT}")) == ["", None, None]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_child_can_draw_after_the_choice() -> None:
    code = """
import multiprocessing
from vlasteer.envs import gl
mujoco = gl.import_mujoco()

def draw(answers):
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 16, 16) as renderer:
        renderer.update_scene(data)
        answers.put(int(renderer.render().max()))

context = multiprocessing.get_context("fork")
answers = context.Queue()
child = context.Process(target=draw, args=(answers,), daemon=True)
child.start()
print(answers.get(timeout=30))
"""
    assert int(run(code)) > 0
