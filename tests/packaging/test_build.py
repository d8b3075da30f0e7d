"""What others install: checkout -> sdist -> wheel -> an empty environment."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LINKED = ("envs", "robots", "policies", "launch")
LIGHT = ("tyro", "docstring_parser", "typeguard", "typing_extensions", "yaml", "numpy")
"""All that `vlasteer --help` may need."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Built:
    """A source distribution, and the wheel built from it."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both built from a copy of the tree, as a fresh clone would have it."""
    copy, out = tmp_path_factory.mktemp("clone") / "a folder", tmp_path_factory.mktemp("dist")
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "run", "runs", "tests")
    shutil.copytree(REPOSITORY, copy, symlinks=True, ignore=left_out)
    # Without isolation: nothing is downloaded. `build` makes the wheel from the unpacked sdist.
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)])
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VLASTEER"))}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**clean, **environment}, cwd="/", timeout=600
    )
    assert done.returncode in (0, 1), f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_folders_are_linked_into_the_package() -> None:
    for name in LINKED:
        assert (REPOSITORY / "vlasteer" / name).readlink() == Path("..") / name


def test_vlasteer_is_the_only_name_at_top_level(built: Built) -> None:
    tops = {PurePosixPath(name).parts[0] for name in _names(built.wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vlasteer"}
    with zipfile.ZipFile(built.wheel) as archive:
        (listed,) = (name for name in archive.namelist() if name.endswith("top_level.txt"))
        assert archive.read(listed).decode().split() == ["vlasteer"]


def test_every_file_of_the_package_ships(built: Built) -> None:
    expected = set()
    for top in ("vlasteer", *LINKED):
        for path in (REPOSITORY / top).rglob("*"):  # does not descend into links
            inside = path.relative_to(REPOSITORY)
            script = inside.parent == Path("launch") and not path.suffix  # launch/test: works on a checkout
            if path.is_file() and "__pycache__" not in inside.parts and not script:
                expected.add(str(inside) if top == "vlasteer" else f"vlasteer/{inside}")
    shipped = {name for name in _names(built.wheel) if name.startswith("vlasteer/")}
    assert expected - shipped == set(), "add the pattern to [tool.setuptools.package-data], or an __init__.py"
    assert shipped - expected == set()


def test_the_source_distribution_holds_files_only(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    assert any(member.name.endswith("/vlasteer/envs/__init__.py") for member in members)


def test_entry_points_name_what_is_there(built: Built) -> None:
    parser = configparser.ConfigParser()
    with zipfile.ZipFile(built.wheel) as archive:
        (listed,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        parser.read_string(archive.read(listed).decode())
    assert parser["console_scripts"]["vlasteer"] == "vlasteer.launch.cli:main"
    names = _names(built.wheel)
    for section in parser.sections():
        for target in parser[section].values():
            module = target.partition(":")[0].replace(".", "/")
            assert {f"{module}.py", f"{module}/__init__.py"} & names, f"{section}: {target}"


@pytest.fixture(scope="module")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and nothing else but the few light packages that the help needs."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False, symlinks=True)
    install = ["install", "--quiet", "--no-deps", "--no-index", str(built.wheel)]
    done = _run([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *install])
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name in LIGHT:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        (packages / source.name).symlink_to(source)
    return folder


def test_the_help_needs_light_packages_only(environment: Path) -> None:
    done = _run([str(environment / "bin" / "vlasteer"), "--help"])
    assert done.returncode == 0, done.stderr
    assert "rollout" in done.stdout


def test_the_doctor_finds_what_an_empty_environment_lacks(environment: Path) -> None:
    done = _run([str(environment / "bin" / "vlasteer"), "doctor", "--json"])
    assert done.returncode == 1
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert states["torch"] == "broken"
    assert states["packages"] == "broken"
    assert states["Python"] == "ok"


def test_the_installed_package_works_with_its_dependencies(environment: Path) -> None:
    (packages,) = environment.glob("lib/python3*/site-packages")
    ours = Path(next(p for p in sys.path if p.endswith("site-packages")))
    # A line in a .pth file is put on the path, but .pth files in there are not read: this checkout stays out of it.
    (packages / "dependencies.pth").write_text(f"{ours}\n")
    python = str(environment / "bin" / "python")
    code = (
        "import vlasteer, sys; from importlib.metadata import entry_points; from importlib.util import find_spec; "
        "points = [p for g in ('policies', 'envs', 'robots') for p in entry_points(group=f'vlasteer.{g}')]; "
        "[p.load() for p in points]; print(vlasteer.__file__, len(points)); "
        "assert not any(find_spec(name) for name in ('envs', 'robots', 'policies', 'launch', 'tests'))"
    )
    done = _run([python, "-c", code])
    assert done.returncode == 0, done.stderr
    place, points = done.stdout.split()
    assert Path(place).is_relative_to(environment)
    assert int(points) >= 2
    done = _run([str(environment / "bin" / "vlasteer"), "doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["torch"]["state"] == "ok", checks["torch"]
    assert checks["packages"]["state"] == "ok", checks["packages"]
    assert checks["video"]["state"] == "ok", checks["video"]
