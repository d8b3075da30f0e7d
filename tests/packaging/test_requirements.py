"""pyproject.toml, constraints.txt and what the code really imports agree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
WITHOUT_DEPENDENCIES = ("hf-libero", "robosuite", "bddl")
"""Installed by launch/setup with --no-deps, and therefore in no extra."""

EXTENSIONS = {"rtde_control": "ur_rtde", "rtde_receive": "ur_rtde"}
"""Bare extension modules, whose owner the metadata do not tell."""
WITHOUT_PIN = ("pyrealsense2",)
"""Never tried with a camera, so that no version of it is known to work."""


def _declared() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = (line for lines in project["optional-dependencies"].values() for line in lines)
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


def _pinned() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def _imported() -> dict[str, Path]:
    """Top-level names that the package imports, with a file that does."""
    found: dict[str, Path] = {}
    for folder in ("vlasteer", "envs", "robots", "policies", "launch"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found.update((alias.name.partition(".")[0], path) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found[node.module.partition(".")[0]] = path
    return found


def test_what_is_imported_is_declared() -> None:
    declared = {canonicalize_name(r.name) for r in _declared()} | set(WITHOUT_DEPENDENCIES)
    owners = packages_distributions()
    for name, path in _imported().items():
        if name in sys.stdlib_module_names or name == "vlasteer":
            continue
        owned_by = {canonicalize_name(owner) for owner in owners.get(name, [EXTENSIONS.get(name, name)])}
        assert owned_by & declared, f"{path.relative_to(REPOSITORY)} imports {name}: declare one of {owned_by}"


def test_what_is_declared_is_pinned() -> None:
    pinned = _pinned()
    for requirement in _declared():
        if requirement.name in WITHOUT_PIN:
            continue
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"constraints.txt pins {version}, against {requirement}"
    assert set(WITHOUT_DEPENDENCIES) <= set(pinned)


def test_pins_name_no_build_and_no_place() -> None:
    for name, version in _pinned().items():
        assert re.fullmatch(r"[\w.!]+", version), f"{name}=={version}"


@pytest.mark.parametrize("name", WITHOUT_DEPENDENCIES)
def test_the_advice_for_libero_is_what_is_pinned(name: str) -> None:
    from vlasteer.envs.libero.packages import INSTALL

    assert f"{name}=={_pinned()[name]}" in INSTALL.split()


def test_libero_and_the_pin_agree_on_mujoco() -> None:
    from vlasteer.envs.libero.packages import MUJOCO

    assert _pinned()["mujoco"] == MUJOCO
