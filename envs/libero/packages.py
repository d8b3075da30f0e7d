"""Brings in the packages that LIBERO runs on (robosuite, bddl, libero), without their side effects.

Imported plainly they ask a question on standard input, write into the home folder, into /tmp and into site-packages,
force one OpenGL back end and draw one environment into the picture of another. What is changed here, each with its why,
is the whole list; the episode-wise part (seeding, placement, lazy cameras) is in `simulation`.

The cache folder (see `vlasteer.cache`) holds robosuite's compiled numba functions, unless `NUMBA_CACHE_DIR` is set, and
matplotlib's configuration where the user has none. Nothing else is written.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from vlasteer.cache import cache_folder
from vlasteer.envs.gl import choose_gl, install_hint
from vlasteer.errors import MissingDependencyError, WorldError

MUJOCO = "3.3.2"
"""The one version that reproduces the benchmark: 3.3.3 darkens floors, 3.4.0 moves objects, 3.10 does not run."""
LIBERO_PACKAGES = ("hf-libero", "libero", "rlinf-libero")
"""Distributions of the same code; they exclude each other, and any of them will do."""
INSTALL = "Run: pip install 'vlasteer[libero]' && pip install --no-deps hf-libero==0.1.4 robosuite==1.4.0 bddl==1.0.1"

_paths: dict[str, str] = {}
"""What LIBERO would read from its configuration file, kept in memory."""


def versions() -> dict[str, str]:
    """What decides the pictures and the physics of a rollout, for the record: versions by package, and the GL back end.

    Imports none of the packages. "absent" stands for one that is not installed.
    """
    found = {name: _version(name) for name in ("mujoco", "robosuite", "bddl")}
    libero = next((f"{name} {_version(name)}" for name in LIBERO_PACKAGES if _version(name) != "absent"), "absent")
    return {**found, "libero": libero, "gl": choose_gl() or "default"}


def libero_folder() -> Path:
    """The installed package `libero.libero`, found without importing it: importing it unprepared prompts.

    Raises:
        MissingDependencyError: no LIBERO distribution is installed.
    """
    for top in _origins("libero"):
        if (top / "libero" / "__init__.py").is_file():
            return top / "libero"
    raise MissingDependencyError("the Python package 'libero' is not installed", fix=INSTALL)


def load_domains(assets: Path) -> Mapping[str, type[Any]]:
    """LIBERO's scene classes by problem name, reading meshes and textures below `assets` from now on.

    Raises:
        MissingDependencyError: robosuite 1.4, bddl or libero is missing.
        WorldError: there is no OpenGL.
    """
    domains = _import_once()
    _paths["assets"] = str(assets)
    libero: Any = sys.modules["libero.libero"]
    libero._assets_path_cache = str(assets)  # else it asks the hub
    return domains


@functools.cache
def _import_once() -> Mapping[str, type[Any]]:
    folder = libero_folder()
    _check_versions()
    choose_gl()  # before robosuite is imported, which otherwise forces EGL, works or not
    _paths.update(
        benchmark_root=str(folder),
        bddl_files=str(folder / "bddl_files"),
        init_states=str(folder / "init_files"),
        datasets=str(folder.parent / "datasets"),
        assets=str(folder / "assets"),
    )
    _use_own_caches()
    _preload_robosuite_macros()
    try:
        binding = importlib.import_module("robosuite.utils.binding_utils")
        with _configuration(_paths):
            libero: Any = importlib.import_module("libero.libero")
            libero.get_libero_path = _paths.__getitem__
            importlib.import_module("libero.libero.envs")
            domains = importlib.import_module("libero.libero.envs.bddl_base_domain").TASK_MAPPING
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"LIBERO needs the Python package '{error.name}'", fix=INSTALL) from error
    except (ImportError, AttributeError) as error:  # PyOpenGL's ways of saying that it found no library
        raise no_gl(error) from error
    _bind_gl_contexts(binding)
    return domains


def no_gl(error: Exception) -> WorldError:
    """The error for what OpenGL raised while it was loaded, or while a context was made."""
    return WorldError(f"there is no OpenGL to render LIBERO with ({' '.join(str(error).split())})", fix=install_hint())


def _check_versions() -> None:
    robosuite, mujoco = _version("robosuite"), _version("mujoco")
    if not robosuite.startswith("1.4."):
        raise MissingDependencyError(
            f"robosuite is {robosuite}", expected="1.4.x (1.5 removed what LIBERO builds on)", fix=INSTALL
        )
    if mujoco != MUJOCO:
        warnings.warn(
            f"mujoco is {mujoco}; LIBERO's published results need {MUJOCO}, with others scenes and physics differ. "
            f"Run: pip install mujoco=={MUJOCO}",
            RuntimeWarning,
            stacklevel=2,
        )


def _use_own_caches() -> None:
    root = cache_folder()
    numba = importlib.import_module("numba")
    if not numba.config.CACHE_DIR:  # robosuite caches compiled functions beside its source: inside site-packages
        numba.config.CACHE_DIR = str(root / "numba")
    home_of_matplotlib = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
    if not home_of_matplotlib.is_dir():  # LIBERO imports matplotlib for a colour map, which creates that folder
        os.environ.setdefault("MPLCONFIGDIR", str(root / "matplotlib"))


def _preload_robosuite_macros() -> None:
    """Put robosuite's settings in place before robosuite reads them: it opens /tmp/robosuite.log while being imported.

    On a machine that several people share, the second of them could not even import it.
    """
    if "robosuite" in sys.modules:
        return
    for folder in _origins("robosuite"):
        spec = importlib.util.spec_from_file_location("robosuite.macros", folder / "macros.py")
        assert spec is not None
        assert spec.loader is not None
        macros: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(macros)
        macros.FILE_LOGGING_LEVEL = None
        sys.modules["robosuite.macros"] = macros
        if not (folder / "macros_private.py").is_file():  # it wants people to write one, into site-packages
            sys.modules["robosuite.macros_private"] = ModuleType("robosuite.macros_private")
        return


@contextmanager
def _configuration(paths: Mapping[str, str]) -> Iterator[None]:
    """A configuration file for the moment of the import: LIBERO asks on standard input when it finds none."""
    before = os.environ.get("LIBERO_CONFIG_PATH")
    with tempfile.TemporaryDirectory(prefix="vlasteer-libero-") as folder:
        Path(folder, "config.yaml").write_text(json.dumps(paths), encoding="utf-8")  # JSON is YAML
        os.environ["LIBERO_CONFIG_PATH"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["LIBERO_CONFIG_PATH"]
            else:
                os.environ["LIBERO_CONFIG_PATH"] = before


def _bind_gl_contexts(binding: Any) -> None:
    """Make every robosuite render context draw, and free what it drew with, in its own OpenGL context.

    robosuite 1.4 makes a context current when it is created and never again: of two environments in one process, the
    older draws with the younger's textures, and closing one frees objects of the other.
    """
    context = binding.MjRenderContext
    draw, free = context.render, context.__del__

    def render(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.gl_ctx.make_current()
        return draw(self, *args, **kwargs)

    def release(self: Any) -> None:
        try:
            self.gl_ctx.make_current()
            free(self)
        except Exception:  # noqa: BLE001
            # Half-built, or the process ends and the display is gone: nothing is left to free, and each back end says
            # so in its own exception. What is raised in a destructor reaches nobody, it only prints.
            pass

    context.render, context.__del__ = render, release
    if os.environ.get("MUJOCO_GL") == "egl":
        # robosuite chooses the device by CUDA_VISIBLE_DEVICES and fails when that is empty or a UUID; mujoco tries all.
        egl = importlib.import_module("mujoco.egl")
        binding.GLContext = lambda max_width, max_height, device_id=-1: egl.GLContext(max_width, max_height)


def _origins(package: str) -> list[Path]:
    """Folders of a top-level package, found without importing it."""
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"
