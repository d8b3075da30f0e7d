"""Finding policies by what a folder says, and refusing options that a kind does not have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toys import ToyPolicy

from vlasteer import registry
from vlasteer.errors import CheckpointError, ConfigError


def toy_family(recognised: bool) -> Any:
    def load(folder: Path, name: str, *, device: str | None, dtype: str | None, colour: str = "") -> ToyPolicy:
        policy = ToyPolicy()
        policy.name = f"{name}-{colour}"
        return policy

    return SimpleNamespace(recognises=lambda folder: recognised, load=load)


def install(monkeypatch: pytest.MonkeyPatch, **families: Any) -> None:
    points = [SimpleNamespace(name=name, load=lambda family=family: family) for name, family in families.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_the_family_that_recognises_the_folder_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, first=toy_family(False), second=toy_family(True))
    assert registry.load_policy(tmp_path, colour="red").name == f"{tmp_path}-red"


def test_an_option_of_another_kind_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, toy=toy_family(True))
    with pytest.raises(ConfigError, match=r"'toy' have no option --unnorm-key\. Expected one of --device, .*--colour"):
        registry.load_policy(tmp_path, unnorm_key="libero_10")


def test_a_name_that_is_no_folder_goes_to_the_family_that_recognises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = toy_family(False)
    elsewhere.recognises_name = lambda name: name.startswith("ws://")
    install(monkeypatch, first=toy_family(True), second=elsewhere)
    monkeypatch.setattr(registry, "resolve_checkpoint", pytest.fail)
    assert registry.load_policy("ws://host:1", colour="red").name == "ws://host:1-red"
    with pytest.raises(ConfigError, match="'second' have no option --unnorm-key"):
        registry.load_policy("ws://host:1", unnorm_key="x")


def test_a_folder_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, toy=toy_family(False))
    with pytest.raises(CheckpointError, match=r"no checkpoint of a known kind.*one of: toy"):
        registry.load_policy(tmp_path)
