"""Importing robosuite and LIBERO asks nothing, writes nothing, and says which versions it found."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from vlasteer.envs.libero import packages
from vlasteer.envs.libero.packages import MUJOCO, versions
from vlasteer.errors import MissingDependencyError

EPISODE = """
import os, sys
from vlasteer.envs.libero import make
from vlasteer.types import EpisodeKey
world = make("libero_object", assets=sys.argv[1], resolution=32, fast=True)
world.reset(EpisodeKey(0, 0, 0))
world.act([0.0] * 7)
assert world.observe().images["image"].std() > 10, "the picture shows nothing"
"""


def _run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter whose standard input is closed and whose imports leave no bytecode."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("VLASTEER_CACHE", "XDG_", "NUMBA"))
    }
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _files(*folders: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.mark.slow
def test_an_episode_asks_nothing_and_writes_only_to_the_cache(assets: Path, tmp_path: Path) -> None:
    home, cache, temporary, here = (tmp_path / name for name in ("home", "cache", "tmp", "here"))
    for folder in (home, temporary, here):
        folder.mkdir()
    watched = [_folder_of(package) for package in ("libero", "robosuite", "bddl", "numba")]
    log = Path("/tmp/robosuite.log")
    before, log_before = _files(*watched), log.stat().st_mtime_ns if log.exists() else None
    result = _run(
        f"import os; os.chdir({str(here)!r})\n" + EPISODE,
        str(assets),
        HOME=str(home),
        VLASTEER_CACHE=str(cache),
        TMPDIR=str(temporary),
        PYTHONPATH=os.pathsep.join(sys.path),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == ""
    assert _files(*watched) == before
    assert (log.stat().st_mtime_ns if log.exists() else None) == log_before
    # Mesa keeps compiled shaders in the user's cache, as for every program that draws.
    assert [path for path in home.rglob("*") if "mesa_shader_cache" not in str(path) and path.name != ".cache"] == []
    assert _files(temporary, here) == {}
    assert {path.name for path in cache.iterdir()} <= {"numba", "matplotlib"}
    assert (cache / "numba").is_dir()


@pytest.mark.slow
def test_the_default_cache_lies_in_the_users_cache_folder(tmp_path: Path, assets: Path) -> None:
    code = "from vlasteer.envs.libero.packages import load_domains; import sys; from pathlib import Path\n"
    code += "load_domains(Path(sys.argv[1])); import numba; print(numba.config.CACHE_DIR)"
    path = os.pathsep.join(sys.path)
    result = _run(code, str(assets), HOME=str(tmp_path), PYTHONPATH=path)
    assert result.stdout.strip() == str(tmp_path / ".cache" / "vlasteer" / "numba"), result.stderr
    result = _run(code, str(assets), HOME=str(tmp_path), PYTHONPATH=path, NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert result.stdout.strip() == str(tmp_path / "mine"), result.stderr


def test_making_a_world_imports_no_simulator(assets: Path) -> None:
    code = "import sys; from vlasteer.envs.libero import make\nmake('libero_goal', assets=sys.argv[1])\n"
    code += "print([m for m in ('mujoco', 'robosuite', 'libero.libero', 'torch', 'numba') if m in sys.modules])"
    result = _run(code, str(assets), PYTHONPATH=os.pathsep.join(sys.path))
    assert result.stdout.strip() == "[]", result.stderr


def test_versions_are_complete() -> None:
    found = versions()
    assert set(found) == {"mujoco", "robosuite", "bddl", "libero", "gl"}
    assert found["mujoco"] == MUJOCO
    assert found["libero"].split()[0] in packages.LIBERO_PACKAGES
    assert found["gl"] in {"egl", "osmesa", "glfw", "default"}


def _pretend(monkeypatch: pytest.MonkeyPatch, **other: str) -> None:
    real = packages._version
    monkeypatch.setattr(packages, "_version", lambda name: other.get(name, real(name)))


def test_another_mujoco_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packages._check_versions()
    _pretend(monkeypatch, mujoco="3.4.0")
    with pytest.warns(RuntimeWarning, match=r"mujoco is 3\.4\.0.*pip install mujoco==3\.3\.2"):
        packages._check_versions()


def test_a_robosuite_that_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, robosuite="1.5.1")
    with pytest.raises(MissingDependencyError, match=r"robosuite is 1\.5\.1.*robosuite==1\.4\.0"):
        packages._check_versions()


def test_a_missing_libero_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_origins", lambda package: [])
    with pytest.raises(MissingDependencyError, match="pip install --no-deps hf-libero"):
        packages.libero_folder()


WITHOUT_GL = """
import ctypes, ctypes.util, sys

class Library(ctypes.CDLL):
    def __init__(self, name, *arguments, **options):
        if any(part in str(name) for part in ("EGL", "OSMesa", "libGL")):
            raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *arguments, **options)

find = ctypes.util.find_library
ctypes.CDLL = ctypes.cdll._dlltype = Library
ctypes.util.find_library = lambda name: None if name in ("EGL", "OSMesa", "GL") else find(name)
from vlasteer.envs.libero import make
from vlasteer.errors import WorldError
from vlasteer.types import EpisodeKey
try:
    make("libero_goal", assets=sys.argv[1]).reset(EpisodeKey(0, 0, 0))
except WorldError as error:
    print(error)
"""


@pytest.mark.parametrize("asked", ["", "egl", "osmesa"])
def test_a_machine_without_opengl_is_told_what_to_install(assets: Path, asked: str) -> None:
    environment = {"MUJOCO_GL": asked, "PYOPENGL_PLATFORM": asked, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = _run(WITHOUT_GL, str(assets), **environment)
    assert result.stdout.startswith("there is no OpenGL to render LIBERO with"), result.stderr
    assert "apt-get install" in result.stdout


def test_an_egl_device_that_does_not_exist_is_said_in_one_line(assets: Path) -> None:
    code = WITHOUT_GL[WITHOUT_GL.index("from vlasteer.envs.libero") :]
    environment = {"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl", "MUJOCO_EGL_DEVICE_ID": "99"}
    result = _run("import sys\n" + code, str(assets), **environment, PYTHONPATH=os.pathsep.join(sys.path))
    assert "no OpenGL to render LIBERO with" in result.stdout, result.stderr
