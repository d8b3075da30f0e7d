"""What people mean by a concept: its words in several languages, its opposite, and words that only look like it.

The built-in lexicon is `lexicon.json` beside this module. A file of a user's own, of the same form, extends it:

    {
      "format": "vlasteer-lexicon/1",
      "concepts": {
        "fast": {"words": ["zippy"]},
        "wobbly": {"words": {"en": ["wobbly", "shaky"]}, "opposite": "steady", "stop_words": ["shakyamuni"]},
        "steady": {"words": ["steady", "stable"], "opposite": "wobbly"}
      }
    }

`words` is a list, or lists by language. `opposite` names the concept whose words are the antonyms; `antonyms` lists
further ones. `stop_words` contain a word's letters but not its meaning (breakfast). An entry for a known concept adds
to it; only `opposite` is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from vlasteer.errors import ConfigError

FORMAT = "vlasteer-lexicon/1"
_FIELDS = ("words", "antonyms", "stop_words", "opposite")


@dataclass(frozen=True)
class Concept:
    """A concept as words, all in lower case.

    Attributes:
        name: what the user asked for.
        words: the name first, then its synonyms.
        antonyms: words of the opposite.
        stop_words: words that contain a synonym's letters but not its meaning.
    """

    name: str
    words: tuple[str, ...]
    antonyms: tuple[str, ...] = ()
    stop_words: tuple[str, ...] = ()


@dataclass
class _Entry:
    words: dict[str, None] = field(default_factory=dict)
    antonyms: dict[str, None] = field(default_factory=dict)
    stop_words: dict[str, None] = field(default_factory=dict)
    opposite: str = ""


class Lexicon:
    """Concepts by name."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._entries = dict(entries)

    @classmethod
    def load(cls, *paths: str | Path) -> Lexicon:
        """The built-in lexicon, extended by the files at `paths` in order.

        Raises:
            ConfigError: a file that is missing or not of the form above, naming the place.
        """
        entries: dict[str, _Entry] = {}
        builtin = files("vlasteer.finding") / "lexicon.json"
        _extend(entries, json.loads(builtin.read_text(encoding="utf-8")), "the built-in lexicon")
        for path in paths:
            _extend(entries, _read(Path(path)), str(path))
        for name, entry in entries.items():
            if entry.opposite and entry.opposite not in entries:
                raise ConfigError(
                    f"concept '{name}' has the unknown opposite '{entry.opposite}'", expected="the name of a concept"
                )
        return cls(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def concept(self, name: str) -> Concept:
        """The concept of that name; a synonym leads to its concept's other words, any other word stands for itself."""
        word = name.strip().lower()
        entry = self._entries.get(word)
        if entry is None:
            entry = next((e for e in self._entries.values() if word in e.words), _Entry())
        words = tuple(dict.fromkeys([word, *entry.words]))
        opposite = self._entries[entry.opposite].words if entry.opposite else {}
        antonyms = tuple(w for w in dict.fromkeys([*opposite, *entry.antonyms]) if w not in words)
        return Concept(word, words, antonyms, tuple(w for w in entry.stop_words if w not in words))


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no lexicon at {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"lexicon {path} cannot be read as JSON ({error})") from error


def _extend(entries: dict[str, _Entry], document: object, source: str) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ConfigError(f"{source} is no lexicon", expected=f'a JSON object with "format": "{FORMAT}"')
    concepts = document.get("concepts")
    if not isinstance(concepts, dict) or set(document) != {"format", "concepts"}:
        raise ConfigError(f"{source} has the keys {sorted(document)}", expected='"format" and an object "concepts"')
    for name, body in concepts.items():
        where = f"concept '{name}' in {source}"
        if not isinstance(body, dict) or not set(body) <= set(_FIELDS):
            found = sorted(set(body) - set(_FIELDS)) if isinstance(body, dict) else type(body).__name__
            raise ConfigError(f"{where} holds {found}", expected=f"an object with some of: {', '.join(_FIELDS)}")
        entry = entries.setdefault(name.strip().lower(), _Entry())
        entry.words |= _word_list(body.get("words", []), f"words of {where}")
        entry.antonyms |= _word_list(body.get("antonyms", []), f"antonyms of {where}")
        entry.stop_words |= _word_list(body.get("stop_words", []), f"stop_words of {where}")
        entry.opposite = _opposite(body.get("opposite", entry.opposite), where)
        if not entry.words:
            raise ConfigError(f"{where} has no words", expected='"words": ["...", ...]')


def _opposite(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"opposite of {where} is a {type(value).__name__}", expected="the name of a concept")
    return value.strip().lower()


def _word_list(value: Any, where: str) -> dict[str, None]:
    """Lower-case words in order, each once."""
    lists = list(value.values()) if isinstance(value, dict) else [value]
    words: dict[str, None] = {}
    for item in lists:
        if not isinstance(item, list) or not all(isinstance(word, str) and word.strip() for word in item):
            raise ConfigError(f"the {where} are {item!r}", expected="a list of words, or lists by language")
        words |= dict.fromkeys(word.strip().lower() for word in item)
    return words
