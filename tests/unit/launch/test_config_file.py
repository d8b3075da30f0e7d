"""`--config`: what a YAML file means as flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import tyro
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import ConfigError
from vlasteer.launch.config_file import find_config, flags_from


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with an option of every kind."""

    policy: str = "default"
    tasks: str = "0"
    clamp: str | None = None
    top: int = 1
    scale: float | None = None
    scope: Literal["all", "image"] = "all"
    steer: tuple[str, ...] = ()
    json_lines: bool = False
    paired: bool = True
    out: Path | None = None


def _read(tmp_path: Path, text: str, *command_line: str) -> Command:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    flags = flags_from(path, Command, command_line)
    return tyro.cli(Command, args=[*flags, *command_line], config=(tyro.conf.UseAppendAction,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Command()),
        ("# nothing\n", Command()),
        ("policy: a b\n", Command(policy="a b")),
        ("policy: -x\nscale: -0.5\n", Command(policy="-x", scale=-0.5)),
        ("tasks: [0, 1]\n", Command(tasks="0,1")),
        ("tasks: 3\ntop: 5\n", Command(tasks="3", top=5)),
        ("steer: [fast=8, low=2]\n", Command(steer=("fast=8", "low=2"))),
        ("steer: {fast: 8, low: q0.9}\n", Command(steer=("fast=8", "low=q0.9"))),
        ("steer: fast=8\n", Command(steer=("fast=8",))),
        ("json-lines: true\npaired: no\n", Command(json_lines=True, paired=False)),
        ("json_lines: on\n", Command(json_lines=True)),
        ("scope: image\nout: run/x\n", Command(scope="image", out=Path("run/x"))),
        ("clamp: null\nscale:\nout: ~\n", Command()),
    ],
)
def test_a_file_means_what_the_flags_would(tmp_path: Path, text: str, expected: Command) -> None:
    assert _read(tmp_path, text) == expected


@pytest.mark.parametrize("spelling", ["3:12", "1:30:00", "no", "1e3", "0o17", "2001-01-01", "0x10"])
def test_scalars_are_taken_as_they_are_spelt(tmp_path: Path, spelling: str) -> None:
    # YAML 1.1 would read 3:12 as the sexagesimal number 192: another neuron.
    assert _read(tmp_path, f"clamp: {spelling}\n").clamp == spelling


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        (["--policy", "flag"], Command(policy="flag", steer=("fast=8",), paired=False)),
        (["--steer", "slow=1"], Command(policy="file", steer=("slow=1",), paired=False)),
        (["--steer=slow=1", "--paired"], Command(policy="file", steer=("slow=1",))),
    ],
)
def test_the_command_line_wins(tmp_path: Path, command_line: list[str], expected: Command) -> None:
    assert _read(tmp_path, "policy: file\nsteer: [fast=8]\npaired: false\n", *command_line) == expected


def test_a_switch_is_overridden_by_its_opposite(tmp_path: Path) -> None:
    assert not _read(tmp_path, "json_lines: true\n", "--no-json-lines").json_lines


def test_unknown_options_are_named_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown options: polcy, zzz.*Did you mean 'policy' for 'polcy'"):
        _read(tmp_path, "polcy: x\nzzz: 1\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "holds a list"),
        ("just words\n", "holds a str"),
        ("a: [\n", "line 2 is no YAML"),
        ("paired: maybe\n", "true or false"),
        ("paired: [true]\n", "wrong shape"),
        ("steer: [[a, b]]\n", "wrong shape"),
        ("policy: {a: b}\n", "wrong shape"),
        ("steer: {fast: {value: 8}}\n", "wrong shape"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file"):
        flags_from(tmp_path / "absent.yaml", Command, [])
    with pytest.raises(ConfigError, match="cannot be read"):
        flags_from(tmp_path, Command, [])
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00policy")
    with pytest.raises(ConfigError, match="cannot be read"):
        flags_from(tmp_path / "binary.yaml", Command, [])


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        (["--top", "3"], None),
        (["--config", "a.yaml"], Path("a.yaml")),
        (["--config=a.yaml", "--top", "3", "--config", "b.yaml"], Path("b.yaml")),
        (["--config"], None),  # the option parser says what is missing
    ],
)
def test_the_file_is_found_on_the_command_line(command_line: list[str], expected: Path | None) -> None:
    assert find_config(command_line) == expected


_words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(
    lambda text: text.strip().lower() not in ("", "~", "null", "none")
)


@given(policy=_words, steer=st.lists(_words, max_size=4))
def test_any_words_survive(tmp_path_factory: pytest.TempPathFactory, policy: str, steer: list[str]) -> None:
    text = yaml.safe_dump({"policy": policy, "steer": steer}, allow_unicode=True)
    assert _read(tmp_path_factory.mktemp("config"), text) == Command(policy=policy, steer=tuple(steer))
