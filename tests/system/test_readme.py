"""The README's commands and code, as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import Terminal

from vlasteer.launch.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def drive_a_little(arguments: list[str]) -> None:
    """As somebody does who pastes the line: hold, let go, quit."""
    with Terminal(arguments) as terminal:
        terminal.wait_for(r"http://127\.0\.0\.1:\d+", 90.0)
        terminal.wait_for("waiting .press and hold", 90.0)
        terminal.hold()
        terminal.wait_for(r"running \| step [1-9]", 60.0)
        terminal.release()
        terminal.wait_for("paused", 30.0)
        terminal.type("q")
        assert terminal.ended() == 0, terminal.tail()


def test_the_commands_and_the_code_work_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("bash") for line in block.splitlines() if "vlasteer " in line]
    assert len(lines) == 6
    for line in lines:
        program, *arguments = line.split()
        assert program == ".venv/bin/vlasteer"
        if arguments[0] == "drive":
            drive_a_little([*arguments, "--page-port", "0"])
        else:
            assert main(arguments) == 0, line
    capsys.readouterr()
    for code in blocks("python"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_scripts_and_files_that_it_names_exist() -> None:
    for script in ("launch/demo", "launch/test"):
        assert (REPOSITORY / script).stat().st_mode & 0o111
        assert f"{script} " in "".join(blocks("bash"))
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (REPOSITORY / target).is_file(), target
