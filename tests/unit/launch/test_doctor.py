"""`vlasteer doctor`: the table, its exit status, and the checks that can go either way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vlasteer.launch import doctor
from vlasteer.launch.doctor import Check, Doctor, State


def _only(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter(checks))


FINE = Check("torch", State.OK, "2.13.0")
ABSENT = Check("UR arm", State.ABSENT, "ur_rtde is not installed", "pip install 'vlasteer[ur]'")
BROKEN = Check("video", State.BROKEN, "no encoder", "pip install --force-reinstall av")


def test_the_table_carries_what_mends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _only(monkeypatch, FINE, ABSENT, BROKEN)
    assert Doctor().run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["ok", "--", "mend:", "NO", "mend:"]
    assert lines[2].endswith("mend: pip install 'vlasteer[ur]'")
    assert lines[-1] == "Broken: video."


def test_what_is_merely_absent_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _only(monkeypatch, FINE, ABSENT)
    assert Doctor().run() == 0
    assert capsys.readouterr().out.endswith("Everything essential works.\n")


def test_json_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _only(monkeypatch, FINE, BROKEN)
    assert Doctor(json=True).run() == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["checks"][1] == {
        "name": "video",
        "state": "broken",
        "detail": "no encoder",
        "fix": "pip install --force-reinstall av",
    }


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # importing it raises
    found = {check.name: check for check in doctor.examine()}
    assert found["video"].state is State.BROKEN
    assert "av" in found["video"].detail
    assert found["Python"].state is State.OK
    assert "cache" in found, "later checks still run"


def test_a_missing_package_is_named_with_its_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda _: ["numpy>=1", "no-such-package>=2", "other; extra == 'x'"]
    )
    assert doctor.packages() == Check(
        "packages", State.BROKEN, "missing: no-such-package>=2", "pip install 'no-such-package>=2'"
    )


def test_a_cache_that_cannot_be_written_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLASTEER_CACHE", str(tmp_path / "file" / "below"))
    found = doctor.cache()
    assert found.state is State.BROKEN
    assert "VLASTEER_CACHE" in found.fix


def test_the_cache_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLASTEER_CACHE", str(tmp_path / "new"))
    assert doctor.cache() == Check("cache", State.OK, str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []


def test_absent_assets_come_with_the_command_that_gets_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLASTEER_LIBERO_ASSETS", str(tmp_path))
    found = doctor.assets()
    assert found.state is State.ABSENT
    assert str(tmp_path) in found.detail
    assert found.fix.startswith("hf download lerobot/libero-assets")


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = doctor.compilation()
    assert found.state is State.ABSENT
    assert "no-such-compiler" in found.detail
    assert "g++" in found.fix


def test_a_back_end_that_draws_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "raise SystemExit('a red ball came out as 0, 0, 0')")
    found = doctor.rendering()
    assert {check.state for check in found[:-1]} == {State.ABSENT}
    assert found[0].detail == "no picture: a red ball came out as 0, 0, 0"
    assert found[-1].state is State.BROKEN
    assert found[-1].fix.startswith("sudo apt-get install")
