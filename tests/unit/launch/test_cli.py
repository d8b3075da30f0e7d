"""The command line: dispatch, options, exit status, and what is printed when something goes wrong."""

from __future__ import annotations

import ast
import inspect
import itertools
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType

import pytest

from vlasteer.errors import ConfigError, UnknownNameError, WorldError
from vlasteer.launch import cli


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Say what was given.

    Example:
        vlasteer probe --policy x
    """

    policy: str
    """Checkpoint."""
    top: int = 30
    """How many."""
    steer: tuple[str, ...] = ()
    """Feature and coefficient."""
    fail: str = ""
    """How to go wrong."""

    def run(self) -> int:
        """Print, or go wrong as asked."""
        if self.fail == "input":
            raise ConfigError("--top is 31", expected="at most 30", fix="Take less")
        if self.fail == "world":
            raise WorldError("the arm does not answer")
        if self.fail == "interrupt":
            raise KeyboardInterrupt
        if self.fail == "bug":
            raise ZeroDivisionError
        print(self.policy, self.top, *self.steer)
        return 3


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `probe` beside the real ones."""
    module = ModuleType("vlasteer.launch.probe")
    module.Probe = Probe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "probe"))
    monkeypatch.delenv("VLASTEER_DEBUG", raising=False)


def test_a_command_gets_its_options_and_its_status_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "--policy", "p", "--top", "5", "--steer", "fast=8", "--steer", "low=2"]) == 3
    assert capsys.readouterr().out == "p 5 fast=8 low=2\n"


def test_a_config_file_gives_defaults_and_flags_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "probe.yaml"
    config.write_text("policy: from-file\ntop: 7\nsteer: {fast: 8}\n")
    assert cli.main(["probe", "--config", str(config), "--top", "9"]) == 3
    assert capsys.readouterr().out == "from-file 9 fast=8\n"


@pytest.mark.parametrize(("how", "status"), [("input", 2), ("world", 1)])
def test_an_error_is_one_line_and_its_own_status(how: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "--policy", "p", "--fail", how]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vlasteer: error: ")
    assert captured.err.count("\n") == 1


def test_debugging_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLASTEER_DEBUG", "1")
    with pytest.raises(ConfigError):
        cli.main(["probe", "--policy", "p", "--fail", "input"])


def test_a_defect_is_not_disguised_as_a_users_mistake() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe", "--policy", "p", "--fail", "bug"])


def test_an_interruption_is_one_line_and_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "--policy", "p", "--fail", "interrupt"]) == 130
    assert capsys.readouterr().err.strip() == "vlasteer: interrupted"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--policy", "p", "--tpo", "3"], ["--policy", "p", "--top", "many"], ["--policy", "p", "stray"]],
    ids=["missing", "unknown", "ill-typed", "stray"],
)
def test_options_that_cannot_be_parsed_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["probe", *arguments])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_required_option_that_is_repeatable_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["find", "--policy", "p"]) == 2
    assert capsys.readouterr().err == "vlasteer: error: --concept is missing. See: vlasteer find --help.\n"


def test_an_unknown_command_names_the_closest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rolout"]) == 2
    assert "Did you mean 'rollout'?" in capsys.readouterr().err
    with pytest.raises(UnknownNameError):
        cli.load_command("rolout")


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in cli.COMMANDS:
        summary = (inspect.getdoc(cli.load_command(name)) or "").splitlines()[0]
        assert any(name in line and summary in line for line in shown.splitlines())


def test_no_command_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: vlasteer" in captured.err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = cli.load_command(name)
    assert is_dataclass(command)
    assert not {"command", "config"} & {field.name for field in fields(command)}, "names that the command line uses"
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown
    assert f"vlasteer {name}" in shown.partition("Example:")[2]
    assert "--config" in shown


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    command = cli.load_command(name)
    assert is_dataclass(command)
    explained = {option for cls in command.__mro__ if is_dataclass(cls) for option in _explained(cls)}
    assert {field.name for field in fields(command)} - explained == set()


def _explained(cls: type) -> set[str]:
    """Names of the fields of a class with a docstring below them."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id
        for field, below in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def test_the_help_waits_for_no_heavy_library() -> None:
    code = (
        "import sys; from vlasteer.launch import cli; cli.main(['--help']); "
        "print([m for m in ('torch', 'transformers', 'mujoco', 'gymnasium', 'av', 'scipy') if m in sys.modules])"
    )
    assert _python(code).stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_gone_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "vlasteer.launch.cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()  # before anything was written
    assert process.stderr is not None
    complaints = process.stderr.read()
    assert process.wait(timeout=120) == 141
    assert complaints == b""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import vlasteer

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vlasteer {vlasteer.__version__}\n"


def test_the_module_can_be_run() -> None:
    environment = {**os.environ, "VLASTEER_DEBUG": ""}
    done = subprocess.run(
        [sys.executable, "-m", "vlasteer.launch.cli", "nonsense"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vlasteer: error: unknown command 'nonsense'")
