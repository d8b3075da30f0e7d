"""Where results are kept between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlasteer.cache import cache_folder


def test_it_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLASTEER_CACHE", "~/elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("VLASTEER_CACHE")
    assert cache_folder() == Path("/var/caches/vlasteer")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "vlasteer"
