"""docs/safety.md promises where things are: they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1:-1] for line in TEXT.splitlines() if re.match(r"\| \d+ \|", line)]


def test_there_are_twenty_rows_in_order() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 21))
    assert all(len(row) == 4 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_every_row_names_code_and_tests_that_exist(row: list[str]) -> None:
    for cell in row[2:]:
        paths = [name for name in re.findall(r"`([^` ]+)`", cell) if "/" in name]
        assert paths, f"row {row[0]} names nothing in: {cell}"
        for path in paths:
            assert (ROOT / path).exists(), path
    assert "tests/" in row[3]


def test_it_says_what_it_does_not_replace() -> None:
    assert "never on a real arm" in TEXT
    assert "replaces nothing" in TEXT
