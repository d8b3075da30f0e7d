"""Assets are found in the documented places, and an incomplete folder is told from a complete one, file by file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from vlasteer.envs.libero import assets as assets_module
from vlasteer.envs.libero.assets import VARIABLE, Assets, find_assets
from vlasteer.envs.libero.simulation import Simulation
from vlasteer.envs.libero.suites import initial_states, tasks_of
from vlasteer.errors import AssetsError

STOVE_KNOB = "articulated_objects/flat_stove/stove_knob_base/visual/stove_knob_base_vis.msh"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder named, none packaged, nothing in the hub's cache, no network."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(assets_module, "libero_folder", lambda: tmp_path / "package")

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)


def _links_to(source: Path, folder: Path) -> Path:
    """A copy of an assets folder made of links, from which files can be removed."""
    shutil.copytree(source, folder, copy_function=lambda a, b: Path(b).symlink_to(a))
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    return folder


def test_the_folder_may_be_the_assets_or_hold_them(assets: Path) -> None:
    assert find_assets(assets) == find_assets(assets / "assets") == Assets((assets / "assets").resolve())


def test_an_option_goes_before_the_variable(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scenes").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert find_assets().folder == tmp_path
    assert find_assets(assets).folder == (assets / "assets").resolve()


def test_a_folder_that_is_none_is_refused_with_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetsError, match=f"no LIBERO assets at {tmp_path}.*hf download"):
        find_assets(tmp_path)
    monkeypatch.setenv(VARIABLE, "/no/such/folder")
    with pytest.raises(AssetsError, match=f"{VARIABLE}=/no/such/folder"):
        find_assets()


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("download", [True, False])
def test_assets_that_are_nowhere_are_an_error_with_the_command(download: bool) -> None:
    with pytest.raises(AssetsError, match="hf download lerobot/libero-assets --repo-type dataset") as caught:
        find_assets(download=download)
    assert caught.value.exit_status == 2


@pytest.mark.usefixtures("nowhere")
def test_a_download_in_the_working_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "here" / "libero-assets" / "scenes").mkdir(parents=True)
    assert find_assets(download=False) == Assets(tmp_path / "here" / "libero-assets")


@pytest.mark.usefixtures("nowhere")
def test_the_hubs_cache_is_used_without_a_network(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def cached(repository: str, **options: object) -> str:
        asked.append((repository, options))
        return str(assets / "assets")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert find_assets() == Assets(assets / "assets", from_hub=True)
    assert asked == [("lerobot/libero-assets", {"repo_type": "dataset", "local_files_only": True})]


@pytest.mark.parametrize("suite", ["libero_spatial", "libero_object", "libero_goal", "libero_10"])
def test_a_complete_folder_is_complete(assets: Path, suite: str) -> None:
    found = find_assets(assets)
    assert {task.index: found.missing(task) for task in tasks_of(suite) if found.missing(task)} == {}


def test_every_missing_file_is_named(assets: Path, tmp_path: Path) -> None:
    folder = _links_to(assets / "assets", tmp_path / "assets")
    removed = [
        "articulated_objects/wooden_cabinet.xml",  # a model file: the meshes behind it cannot be known
        STOVE_KNOB,
        "scenes/libero_tabletop_base_style.xml",
        "stable_scanned_objects/plate/texture.png",
    ]
    for name in removed:
        (folder / name).unlink()
    task = tasks_of("libero_goal")[0]
    found = find_assets(folder)
    assert found.missing(task) == sorted(removed)
    with pytest.raises(
        AssetsError, match=r"libero_goal task 0 needs.*wooden_cabinet\.xml.*plate/texture\.png.*hf download"
    ):
        found.require(task)


def test_a_style_counts_and_the_arenas_own_default_does_not(assets: Path, tmp_path: Path) -> None:
    folder = _links_to(assets / "assets", tmp_path / "assets")
    (folder / "textures" / "light-gray-floor-tile.png").unlink()
    assert find_assets(folder).missing(tasks_of("libero_goal")[0]) == ["textures/light-gray-floor-tile.png"]


def test_an_interrupted_download_is_resumed(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _links_to(assets / "assets", tmp_path / "assets")
    (folder / STOVE_KNOB).unlink()

    def resume(*_: object, **__: object) -> str:
        (folder / STOVE_KNOB).symlink_to(assets / "assets" / STOVE_KNOB)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", resume)
    Assets(folder, from_hub=True).require(tasks_of("libero_goal")[0])
    assert (folder / STOVE_KNOB).is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "index"), [("libero_spatial", 4), ("libero_object", 0), ("libero_10", 3), ("libero_10", 5)]
)
def test_the_files_checked_are_the_files_that_a_built_scene_opens(assets: Path, suite: str, index: int) -> None:
    task, folder = tasks_of(suite)[index], find_assets(assets).folder
    scene = Simulation(task, folder, initial_states(task)[0], resolution=16, fast=True)
    model = ElementTree.fromstring(scene._scene.model.get_xml())
    scene.close()
    opened = {os.path.normpath(element.attrib["file"]) for element in model.iterfind("asset/*[@file]")}
    checked = {os.path.normpath(path) for path in assets_module._references(task, folder)}
    assert {path for path in checked if not path.endswith(".xml")} == {p for p in opened if p.startswith(str(folder))}
