"""Run folders: everything that one command recorded, in one place.

    run.yaml                what was run: the resolved configuration, and one entry per start of the program
    data/ videos/ meta/     the recording, a LeRobotDataset v3.0 (`vlasteer.recording`)
    cameras/ calls/         beside it: cameras at their own rate, the policy's calls (`vlasteer.recording.beside`)
    replays/                what `vlasteer replay` found
    journal/                episodes that are open
    run.lock                held while a process writes

`RunFolder` is for writing, `Run` for reading:

    with RunFolder.create_or_resume("run", {"seed": 0}) as run:
        done = run.finished()
        recorder = run.dataset(state_names=world.state_names).recorder()

    Run.load("run").steps.groupby("arm")["executed.action.z"].mean()
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ConfigError, InputError, MissingDependencyError, OutputError
from vlasteer.recording import (
    DatasetWriter,
    camera_frames,
    episode_frames,
    finished_episodes,
    read_calls,
    read_episodes,
    read_steps,
)
from vlasteer.recording.atomic import replace_text
from vlasteer.recording.reader import read_layout

if TYPE_CHECKING:
    import pandas

    from vlasteer.anatomy import SiteKey
    from vlasteer.recording.call_files import PolicyCall
    from vlasteer.recording.cameras import CameraFrame

FILE = "run.yaml"
FORMAT = 1
_LOCK = "run.lock"
_VERSIONED = (
    *("vlasteer", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "mujoco"),
    *("gymnasium", "hf-libero", "robosuite", "bddl", "pyarrow", "av", "ur_rtde"),
)
_locked: set[Path] = set()  # POSIX locks do not keep a process from itself


class RunFolder:
    """A run that this process writes; made by `create_or_resume`, let go by `close` or at the end of a `with`.

    Attributes:
        path: the folder.
        config: the resolved configuration, in plain types.
        resumed: whether the folder was there already.
    """

    def __init__(self, path: Path, config: dict[str, Any], lock: IO[str], *, resumed: bool) -> None:
        self.path, self.config, self.resumed = path, config, resumed
        self._lock = lock

    @classmethod
    def create_or_resume(
        cls, path: Path | str, config: Mapping[str, Any], *, facts: Mapping[str, Any] | None = None
    ) -> RunFolder:
        """Make the run folder, or take up the run that is there if it was made with the same configuration.

        Args:
            path: the folder: absent, empty, or a run.
            config: all that determines the results: policy and pack hashes, plan, seeds. Dataclasses must have been
                turned into dictionaries; paths, enums, tuples and NumPy numbers become plain types.
            facts: about this start of the program that may differ on resumption: GL back end, device. Package
                versions are added.

        Raises:
            OutputError: the path cannot be written, holds something else, a run with another configuration, or one
                that another process is writing.
            ConfigError: a value of another type in `config`.
        """
        folder, plain = Path(path).expanduser().absolute(), to_plain(config)
        started = {"started": _now(), "versions": package_versions(), "facts": to_plain(facts or {})}
        try:
            resumed = not _create(folder, plain)
            lock = _take_lock(folder)
            try:
                found = _read(folder)
                _refuse_another(folder, found["config"], plain)
                found["starts"].append(started)
                replace_text(folder / FILE, _to_yaml(found))
            except BaseException:
                _let_go(folder, lock)
                raise
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be written: {error.strerror or error}", fix="Choose another output folder"
            ) from error
        return cls(folder, plain, lock, resumed=resumed)

    def dataset(
        self, *, state_names: Sequence[str] = (), lossless: bool = False, extras: Sequence[str] = ()
    ) -> DatasetWriter:
        """The run's recording, open for appending; episodes of a process that died are sealed. Open it once.

        Arguments are those of `vlasteer.recording.DatasetWriter`.
        """
        return DatasetWriter(self.path, state_names=state_names, lossless=lossless, extras=extras)

    def episodes(self) -> list[dict[str, Any]]:
        """Episodes recorded so far (`vlasteer.recording.read_episodes`)."""
        return read_episodes(self.path)

    def finished(self) -> dict[int, dict[str, Any]]:
        """Episodes that need not be run again, by plan index: those that ended in success or at the horizon.

        Call it after `dataset`, which may recover some.
        """
        return finished_episodes(self.episodes())

    def close(self) -> None:
        """Let other processes write. Idempotent."""
        if not self._lock.closed:
            _let_go(self.path, self._lock)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Run:
    """A run to read; made by `load`. Data frames need pandas.

    Attributes:
        path: the folder.
        config: the resolved configuration.
        starts: one entry per start of the program: when, package versions, facts.
    """

    def __init__(self, path: Path, config: dict[str, Any], starts: list[dict[str, Any]]) -> None:
        self.path, self.config, self.starts = path, config, starts

    @classmethod
    def load(cls, path: Path | str) -> Run:
        """Open a run folder for reading, while it is being written or later.

        Raises:
            InputError: `path` is no run folder.
        """
        folder = Path(path).expanduser()
        if not (folder / FILE).is_file():
            raise InputError(f"{folder} is no run folder", expected=f"a folder with {FILE}")
        found = _read(folder)
        return cls(folder, found["config"], found["starts"])

    @cached_property
    def episodes(self) -> pandas.DataFrame:
        """One row per episode: plan index, task, start, seed, arm, outcome, length, ...

        `superseded` marks those that were interrupted and run again.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        frame = _pandas().DataFrame(read_episodes(self.path))
        if len(frame):
            frame["superseded"] = frame.duplicated("plan_index", keep="last")
        return frame

    @cached_property
    def steps(self) -> pandas.DataFrame:
        """One row per step, all episodes: the recording's columns and what identifies the episode.

        Vectors are spread over columns named after their entries: executed.action.x, world.state.0, ...

        Raises:
            MissingDependencyError: pandas is not installed.
            InputError: no episode was recorded.
        """
        pd = _pandas()
        table, layout = read_steps(self.path), read_layout(self.path)
        columns: dict[str, Any] = {}
        for column in layout.stored_columns:
            values = table[column.name].to_pandas()
            if column.shape == (1,):
                columns[column.name] = values
                continue
            matrix, names = np.stack(values.to_list()), column.names or range(column.shape[0])
            columns |= {f"{column.name}.{name}": matrix[:, i] for i, name in enumerate(names)}
        identity = ["episode_index", "plan_index", "task", "start", "seed", "arm", "outcome", "superseded"]
        return pd.DataFrame(columns).merge(self.episodes[identity], on="episode_index", how="left")

    @cached_property
    def measures(self) -> pandas.DataFrame:
        """One row per episode, the last attempt of each: condition, outcome, and every quantity of
        `vlasteer.analysis.QUANTITIES` over its whole length, with the unit in the column's name.

            run.measures.groupby("condition")["step_length_mm"].mean()

        Raises:
            MissingDependencyError: pandas is not installed.
            InputError: no episode was recorded.
        """
        from vlasteer.analysis import load_runs  # reads runs through this module
        from vlasteer.analysis.tables import measures_of

        return _pandas().DataFrame(measures_of(load_runs([self.path])[0]))

    def frames(self, episode: int, camera: str, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """What a camera saw (`vlasteer.recording.episode_frames`)."""
        return episode_frames(self.path, episode, camera, start, stop)

    def calls(self, episode: int) -> Iterator[PolicyCall]:
        """What the policy was asked and answered, call by call, where that was recorded (`read_calls`)."""
        return read_calls(self.path, episode)

    def activations(self, episode: int) -> dict[SiteKey, list[NDArray[Any]]]:
        """Activations that were recorded: site -> one array [positions, neurons] per call of the policy.

        They are what enters `down_proj`, after steering. `calls` gives the same one call at a time.

        Raises:
            InputError: none were recorded.
        """
        found: dict[SiteKey, list[NDArray[Any]]] = {}
        for call in self.calls(episode):
            for site, values in call.activations.items():
                found.setdefault(site, []).append(values)
        if not found:
            raise InputError(
                f"{self.path} has no activations of episode {episode}", fix="Record them with --activations vlm:0"
            )
        return found

    def camera(self, episode: int, camera: str) -> Iterator[CameraFrame]:
        """Frames of a camera that was recorded at its own rate, with their times (`camera_frames`)."""
        return camera_frames(self.path, episode, camera)


def package_versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that results may depend on, where they are installed."""
    found = {"python": platform.python_version(), "platform": f"{sys.platform}-{platform.machine()}"}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def to_plain(value: Any, where: str = "config") -> Any:
    """`value` in the types of JSON: paths and enums become strings, tuples lists, NumPy numbers Python's.

    Raises:
        ConfigError: naming the place of a value of another type.
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [to_plain(item, f"{where}[{i}]") for i, item in enumerate(items)]
    if isinstance(value, enum.Enum):
        return to_plain(value.value, where)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{where} is a {type(value).__name__}", expected="a number, text, list, mapping, path or enum")


def _create(folder: Path, config: dict[str, Any]) -> bool:
    """Make the run folder whole or not at all; False when a run is there already."""
    if (folder / FILE).is_file():
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        kind = "holds something that is no run" if folder.is_dir() else "is a file"
        raise OutputError(f"{folder} {kind}", expected="a new or empty folder, or a run to resume")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        for name in ("data", "videos", "meta"):
            (draft / name).mkdir(parents=True)
        replace_text(draft / FILE, _to_yaml({"format": FORMAT, "created": _now(), "config": config, "starts": []}))
        draft.rename(folder)  # onto nothing or an empty folder
    except OSError:
        if (folder / FILE).is_file():  # another process was faster
            return False
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def _refuse_another(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    there, here = _leaves(found), _leaves(wanted)
    differing = [key for key in there | here if there.get(key) != here.get(key)]
    if differing:
        shown = "; ".join(
            f"{key}: {there.get(key, 'absent')} there, {here.get(key, 'absent')} here" for key in differing[:5]
        )
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise OutputError(
            f"{folder} is a run with another configuration ({shown}{more})",
            fix="Choose another output folder, or the same configuration to resume it",
        )


def _leaves(config: Any, key: str = "") -> dict[str, str]:
    if isinstance(config, dict) and config:
        return {
            k: v for name, item in config.items() for k, v in _leaves(item, f"{key}.{name}" if key else name).items()
        }
    return {key: json.dumps(config)}


def _take_lock(folder: Path) -> IO[str]:
    busy = OutputError(f"{folder} is being written by another process", fix="Wait for it, or choose another folder")
    if folder in _locked:
        raise busy
    lock = (folder / _LOCK).open("a+", encoding="utf-8")
    try:
        # A record lock: unlike flock it is not inherited by worker processes, which may outlive a killed parent.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise busy from None
    _locked.add(folder)
    return lock


def _let_go(folder: Path, lock: IO[str]) -> None:
    lock.close()
    _locked.discard(folder)


def _read(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
        if found["format"] > FORMAT:
            raise InputError(f"{folder / FILE} was written by a newer vlasteer", fix="Run: pip install -U vlasteer")
        return {"format": FORMAT, "created": found["created"], "config": found["config"], "starts": found["starts"]}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{folder / FILE} cannot be read: {str(error).splitlines()[0]}") from error


def _to_yaml(value: Any) -> str:
    import yaml

    # PyYAML folds lines at these three where it may write them as they are, and then reads something else.
    as_is = not any(c in json.dumps(value, ensure_ascii=False) for c in "\x85\u2028\u2029")
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=as_is, width=120)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError.for_extra("pandas", "analysis") from error
    return pd
