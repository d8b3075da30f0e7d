"""LIBERO's meshes, textures and scene files: where they are, and whether they are all there.

The LIBERO packages bring tasks and initial states only; the rest is the hub data set `lerobot/libero-assets`. A folder
of them is complete for a task when every file that the task's scene refers to exists. That is checked before anything
is built: the packages look at four folder names, and a missing file surfaces as an error from deep inside MuJoCo.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vlasteer.envs.libero.packages import libero_folder, load_domains
from vlasteer.envs.libero.suites import Task
from vlasteer.errors import AssetsError, MissingDependencyError

VARIABLE = "VLASTEER_LIBERO_ASSETS"
HUB_DATASET = "lerobot/libero-assets"
NEARBY = ("libero-assets", "../shared/libero")
"""Where the download of `GET_ASSETS` puts them, and where a development checkout has them beside the test data."""
GET_ASSETS = (
    f"On a connected machine run: hf download {HUB_DATASET} --repo-type dataset --local-dir libero-assets; "
    f"elsewhere than here, set {VARIABLE} to that folder"
)
_SHOWN = 5


@dataclass(frozen=True)
class Assets:
    """A folder of assets.

    Attributes:
        folder: the one that holds `scenes/`, `articulated_objects/`, ...
        from_hub: whether it lies in the hub's cache, so that an incomplete download can be resumed.
    """

    folder: Path
    from_hub: bool = False

    def missing(self, task: Task) -> list[str]:
        """Files that the task's scene needs and that do not exist, relative to `folder`; sorted."""
        return sorted({_relative(path, self.folder) for path in _references(task, self.folder) if not path.is_file()})

    def require(self, task: Task) -> None:
        """Check that the tree is complete for a task; an interrupted download from the hub is resumed first.

        Raises:
            AssetsError: files are missing; they are named.
        """
        missing = self.missing(task)
        if missing and self.from_hub:
            _download()
            missing = self.missing(task)
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            names = ", ".join(missing[:_SHOWN]) + more
            raise AssetsError(
                f"files that {task.suite} task {task.index} needs are missing from {self.folder}: {names}",
                expected="a complete copy of the LIBERO assets",
                fix=GET_ASSETS,
            )


def find_assets(folder: str | Path | None = None, *, download: bool = True) -> Assets:
    """The assets on this machine.

    Looked for in this order: `folder`; the environment variable `VLASTEER_LIBERO_ASSETS`; the folders `NEARBY` of the
    working directory; the installed LIBERO package; the hub's cache; a download into the hub's cache.

    Args:
        folder: the assets folder, or one that contains it under the name `assets`.
        download: whether to download when they are nowhere.

    Raises:
        AssetsError: there are none, or the folder that was named is not one of assets.
    """
    named = folder or os.environ.get(VARIABLE)
    if named:
        origin = f"{named}" if folder else f"{VARIABLE}={named}"
        return _named(Path(named).expanduser(), origin)
    for near in (*(Path(name) / part for name in NEARBY for part in ("", "assets")), libero_folder() / "assets"):
        if _looks_right(near):
            return Assets(near.resolve())
    try:
        return _in_hub_cache()
    except OSError:  # huggingface_hub: not in the cache
        if download:
            return _download()
    raise AssetsError("the LIBERO assets are not on this machine", expected="a folder with scenes/", fix=GET_ASSETS)


def _named(folder: Path, origin: str) -> Assets:
    for candidate in (folder, folder / "assets"):
        if _looks_right(candidate):
            return Assets(candidate.resolve())
    raise AssetsError(
        f"there are no LIBERO assets at {origin}",
        expected="a folder that contains scenes/, or one with such a folder in assets/",
        fix=GET_ASSETS,
    )


def _looks_right(folder: Path) -> bool:
    return (folder / "scenes").is_dir()


def _in_hub_cache() -> Assets:
    return _hub_tree(_hub().snapshot_download(HUB_DATASET, repo_type="dataset", local_files_only=True))


def _download() -> Assets:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _hub_tree(_hub().snapshot_download(HUB_DATASET, repo_type="dataset"))
    except (OSError, HfHubHTTPError) as error:
        raise AssetsError(
            f"the LIBERO assets are not on this machine and cannot be downloaded ({type(error).__name__})",
            expected=f"the folder in {VARIABLE}, or a connection to the hub",
            fix=GET_ASSETS,
        ) from error


def _hub_tree(snapshot: str) -> Assets:
    folder = Path(snapshot)
    return Assets(folder / "assets" if _looks_right(folder / "assets") else folder, from_hub=True)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError(
            "the Python package 'huggingface_hub' is not installed", fix="Run: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _references(task: Task, folder: Path) -> Iterator[Path]:
    """Every file below `folder` that the scene of a task refers to: the arena, its two styles, and the objects."""
    domains = load_domains(folder)
    bddl_utils = importlib.import_module("libero.libero.envs.bddl_utils")
    domain = domains[bddl_utils.get_problem_info(str(task.problem_file))["problem_name"]]
    scene = _undone(lambda: _described(domain)(str(task.problem_file), robots=["Panda"]))
    texture = importlib.import_module("libero.libero.envs.arenas.style").get_texture_filename
    # The task's styles take the places of the arena's own floor and wall.
    styles = {
        "texplane": texture(type="floor", style=scene._arena_properties["floor_style"]),
        "tex-wall": texture(type="wall", style=scene._arena_properties["wall_style"]),
    }
    yield from _files_of(Path(scene._arena_xml), styles)
    objects = importlib.import_module("libero.libero.envs.base_object").OBJECTS_DICT
    for category in {*scene.parsed_problem["objects"], *scene.parsed_problem["fixtures"]} & set(objects):
        yield from _files_of(Path(_undone(_unread(objects[category]))), {})


def _files_of(model: Path, styles: Mapping[str, str]) -> Iterator[Path]:
    """An MJCF file and what it refers to; robosuite reads the paths in it relative to the file's own folder."""
    yield model
    if not model.is_file():
        return
    seen = set()
    for element in ElementTree.parse(model).getroot().iterfind("asset/*"):
        key = (element.tag, element.get("name"))
        if key in seen:  # robosuite merges the first of a name only; flat_stove's second texture does not even exist
            continue
        seen.add(key)
        if "file" not in element.attrib:
            continue
        file = model.parent / element.attrib["file"]
        style = styles.get(element.get("name", ""))
        yield file.with_name(style) if style else file


class _FoundError(Exception):
    """Carries what was looked for out of a constructor that would go on to load and build it."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def _undone(construct: Callable[[], object]) -> Any:
    try:
        construct()
    except _FoundError as found:
        return found.value
    raise AssertionError("LIBERO's constructors changed: nothing was found on the way")


def _described(domain: type[Any]) -> type[Any]:
    """A scene class whose construction ends once it has read its task and chosen its arena, before loading anything."""

    class Description(domain):
        def _load_model(self) -> None:
            raise _FoundError(self)

    Description.__name__ = domain.__name__  # LIBERO compares it with the problem's name
    return Description


def _unread(category: type[Any]) -> type[Any]:
    """An object class whose construction ends when it knows its model file, before that is read."""
    base: type[Any] = importlib.import_module("robosuite.models.objects").MujocoXMLObject

    class ModelFile(base):
        def __init__(self, path: str, *_: Any, **__: Any) -> None:
            raise _FoundError(path)

    # Second among the bases, it stands between LIBERO's own classes and robosuite's reader.
    return type(category.__name__, (category, ModelFile), {})


def _relative(path: Path, folder: Path) -> str:
    path = Path(os.path.normpath(path))
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
