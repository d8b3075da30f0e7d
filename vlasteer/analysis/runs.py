"""A run as it is analysed: its episodes, its conditions, what is missing, and the runs that it may be compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vlasteer.analysis.episodes import Episode, read_run_episodes
from vlasteer.comparison import RANDOM, UNSTEERED
from vlasteer.errors import InputError
from vlasteer.recording.layout import Layout
from vlasteer.runs import Run

_SAME = ("checkpoint_hash", "env", "horizon", "replan", "fast_render", "dtype", "unnorm_key", "convention")
"""What two runs must share for the one's unsteered episodes to be the other's reference."""


@dataclass(frozen=True)
class AnalysedRun:
    """A run folder with its numbers.

    Attributes:
        path: the folder; name: short and unique among the runs that are analysed together.
        config, starts: of run.yaml (`vlasteer.runs.Run`).
        layout: of the recording.
        episodes: the last attempt of every episode, whatever its outcome, in the order of the plan.
        superseded: how many earlier attempts were left out.
        open: how many episodes are in the journal: being recorded, or waiting to be recovered.
        features: name -> document of features.json in the folder; empty when there is none.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]
    layout: Layout
    episodes: Sequence[Episode]
    superseded: int
    open: int
    features: Mapping[str, Any]

    @cached_property
    def finished(self) -> list[Episode]:
        """Episodes that ended by themselves: those that enter comparisons."""
        return [episode for episode in self.episodes if episode.finished]

    @cached_property
    def conditions(self) -> list[str]:
        """In the order in which they first appear; random draws are one."""
        return list(dict.fromkeys(episode.condition for episode in self.episodes))

    def of(self, condition: str) -> list[Episode]:
        """Finished episodes of a condition."""
        return [episode for episode in self.finished if episode.condition == condition]

    @property
    def unsteered(self) -> list[Episode]:
        """Finished episodes of the unsteered arm."""
        return [episode for episode in self.finished if episode.arm == UNSTEERED]

    @property
    def draws(self) -> list[str]:
        """Names of the random draws."""
        return list(dict.fromkeys(e.draw for e in self.finished if e.arm == RANDOM and e.draw is not None))

    @property
    def planned(self) -> int | None:
        """How many episodes the plan has, where the configuration tells."""
        try:
            arms = 2 + self.config["random"] if self.config["paired"] else 1
            return len(self.config["tasks"]) * len(self.config["starts"]) * arms
        except (KeyError, TypeError):
            return None

    @property
    def policy(self) -> str:
        """Name of the policy, as it was given."""
        for start in self.starts:
            if name := (start.get("facts") or {}).get("policy"):
                return str(name)
        known = self.config.get("checkpoint_hash")
        return f"policy {str(known)[:12]}" if known else "no policy"

    @property
    def world(self) -> str:
        """Name of the world."""
        return str(self.config.get("env") or self.config.get("robot") or self.config.get("world") or "unknown world")

    @property
    def coefficients(self) -> dict[str, float]:
        """Feature -> coefficient of the steered arm, of those that are plain numbers; without random draws."""
        found = {}
        for term in self.config.get("steering") or ():
            try:
                if "~" not in term["feature"]:
                    found[str(term["feature"])] = float(term["coefficient"])
            except (TypeError, ValueError, KeyError):
                continue
        return found

    @property
    def features_used(self) -> list[str]:
        """Features that were mounted, random draws left out."""
        return [str(t["feature"]) for t in self.config.get("steering") or () if "~" not in t["feature"]]

    def comparable(self, other: AnalysedRun) -> bool:
        """Whether episodes of the same task, start and seed in both are pairs."""
        return all(self.config.get(key) == other.config.get(key) for key in _SAME)


def load_runs(paths: Sequence[Path | str]) -> list[AnalysedRun]:
    """Read run folders for analysis. A folder that is being written is read as far as it is sealed.

    Raises:
        InputError: no run folder, no episode in it, or the same folder twice.
    """
    folders = [Path(path).expanduser().absolute() for path in paths]
    for i, folder in enumerate(folders):
        if folder in folders[:i]:
            raise InputError(f"{folder} was given twice", expected="every run once")
    return [_load(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]


def _load(folder: Path, name: str) -> AnalysedRun:
    run = Run.load(folder)
    journal = folder / "journal"
    waiting = sum(1 for item in journal.iterdir() if item.is_dir()) if journal.is_dir() else 0
    if not (folder / "meta/info.json").is_file() or not any((folder / "meta/episodes").glob("*/*.parquet")):
        raise InputError(
            f"{folder} holds no finished episode yet",
            expected="a run with at least one",
            fix="Let it run, or resume it by the same command" if waiting else "",
        )
    layout, episodes, superseded = read_run_episodes(folder, run.config)
    return AnalysedRun(
        path=folder,
        name=name,
        config=run.config,
        starts=run.starts,
        layout=layout,
        episodes=episodes,
        superseded=superseded,
        open=waiting,
        features=_features(folder),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names, with as many parents as tell them apart."""
    for depth in range(1, max((len(folder.parts) for folder in folders), default=1) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _features(folder: Path) -> Mapping[str, Any]:
    path = folder / "features.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("features")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a feature pack, or no such file") from error
    return found if isinstance(found, dict) else {}
