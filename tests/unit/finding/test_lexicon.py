"""The lexicon: built in, extended by files, and strict about their form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlasteer.errors import ConfigError
from vlasteer.finding.lexicon import FORMAT, Lexicon

BUILT_IN = {
    "fast": "slow", "up": "down", "left": "right", "forward": "back", "high": "low", "careful": "careless",
    "grip": "release",
}  # fmt: skip


def write(folder: Path, concepts: Any, **changes: Any) -> Path:
    path = folder / "lexicon.json"
    path.write_text(json.dumps({"format": FORMAT, "concepts": concepts} | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize(("concept", "opposite"), BUILT_IN.items())
def test_built_in_concepts_and_their_opposites(concept: str, opposite: str) -> None:
    lexicon = Lexicon.load()
    for one, other in ((concept, opposite), (opposite, concept)):
        entry = lexicon.concept(one)
        assert entry.words[0] == one
        assert len(entry.words) >= 10
        assert other in entry.antonyms
        assert not set(entry.words) & set(entry.antonyms)
        assert not set(entry.words) & set(entry.stop_words)
        assert all(word == word.strip().lower() for word in entry.words + entry.antonyms + entry.stop_words)


def test_several_languages_and_words_of_mere_spelling() -> None:
    lexicon = Lexicon.load()
    assert {"schnell", "rapide", "rápido", "быстро", "快"} <= set(lexicon.concept("fast").words)
    assert "breakfast" in lexicon.concept("fast").stop_words
    assert {"follow", "allow", "yellow"} <= set(lexicon.concept("low").stop_words)


def test_a_synonym_leads_to_its_concept_and_an_unknown_word_stands_for_itself() -> None:
    lexicon = Lexicon.load()
    quick = lexicon.concept("Quick")
    assert quick.words[0] == "quick"
    assert "fast" in quick.words
    assert "slow" in quick.antonyms
    banana = lexicon.concept("banana")
    assert (banana.words, banana.antonyms, banana.stop_words) == (("banana",), (), ())


def test_a_file_extends_what_is_built_in(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "fast": {"words": ["Zippy"], "stop_words": ["zippyshare"], "antonyms": ["tardy"]},
            "wobbly": {"words": {"en": ["wobbly", "shaky"], "de": ["wackelig"]}, "opposite": "steady"},
            "steady": {"words": ["steady"], "opposite": "wobbly"},
        },
    )
    lexicon = Lexicon.load(path)
    fast = lexicon.concept("fast")
    assert {"zippy", "quick"} <= set(fast.words)
    assert "zippyshare" in fast.stop_words
    assert {"slow", "tardy"} <= set(fast.antonyms)
    assert lexicon.concept("wobbly").words == ("wobbly", "shaky", "wackelig")
    assert lexicon.concept("wobbly").antonyms == ("steady",)
    assert "zippy" not in Lexicon.load().concept("fast").words


@pytest.mark.parametrize(
    ("concepts", "changes", "message"),
    [
        ({}, {"format": "other"}, "is no lexicon"),
        ([], {}, "concepts"),
        ({}, {"further": 1}, "further"),
        ({"x": {"word": ["x"]}}, {}, "word"),
        ({"x": ["x"]}, {}, "list"),
        ({"x": {"words": "x"}}, {}, "words of concept 'x'"),
        ({"x": {"words": ["x", 3]}}, {}, "words of concept 'x'"),
        ({"x": {"words": ["x"], "stop_words": [" "]}}, {}, "stop_words of concept 'x'"),
        ({"x": {"words": {"en": "x"}}}, {}, "words of concept 'x'"),
        ({"x": {"words": []}}, {}, "no words"),
        ({"x": {"words": ["x"], "opposite": "y"}}, {}, "opposite 'y'"),
        ({"x": {"words": ["x"], "opposite": 3}}, {}, "opposite of concept 'x'"),
    ],
)
def test_files_of_another_form_are_refused_with_the_place(
    tmp_path: Path, concepts: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Lexicon.load(write(tmp_path, concepts, **changes))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no lexicon"):
        Lexicon.load(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        Lexicon.load(tmp_path / "bad.json")
