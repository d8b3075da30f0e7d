"""How features are looked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vlasteer.errors import ConfigError, UnknownNameError

Method = Literal["keywords", "semantic"]
Depth = Literal["full", "early", "late"]
Match = Literal["word", "substring"]


@dataclass(frozen=True)
class FindOptions:
    """Options of both methods; defaults that differ between them are filled in by `resolved`.

    Attributes:
        method: "keywords": neurons whose top tokens hold most of the concept's words. "semantic": the paper's clusters
            of neurons in the space of output embeddings.
        k: neurons of the feature (the paper: 10, 20 or 40; on the robot 6).
        top_n: tokens per neuron that are looked at; default 30 for keywords, 5 for semantic.
        depth: "full", or only the "early" or "late" half of the layers.
        exclude_action_tokens: leave out neurons with an action token among their top 30.
        exclude_antonyms: leave out neurons with an antonym among them; default yes for keywords, no for semantic.
        unreachable: allow neurons that cannot influence an action, as a negative control.
        match: keywords only: a token is a word of the concept ("word"), or holds one within it ("substring").
        seeds: semantic only: how many of the neurons nearest to the concept are first tried as seeds of a cluster (see
            `vlasteer.finding.semantic`); None tries all, as the paper does.
    """

    method: Method = "keywords"
    k: int = 10
    top_n: int | None = None
    depth: Depth = "full"
    exclude_action_tokens: bool = False
    exclude_antonyms: bool | None = None
    unreachable: bool = False
    match: Match = "word"
    seeds: int | None = 1024

    def __post_init__(self) -> None:
        for what, value, known in (
            ("method", self.method, Method),
            ("depth", self.depth, Depth),
            ("way of matching", self.match, Match),
        ):
            if value not in get_args(known):
                raise UnknownNameError.among(what, value, get_args(known))
        for what, number in (("k", self.k), ("top_n", self.top_n), ("seeds", self.seeds)):
            if number is not None and number < 1:
                raise ConfigError(f"{what} {number}", expected="at least 1")

    def resolved(self) -> FindOptions:
        """The same with the method's defaults filled in."""
        values = asdict(self)
        if self.top_n is None:
            values["top_n"] = 30 if self.method == "keywords" else 5
        if self.exclude_antonyms is None:
            values["exclude_antonyms"] = self.method == "keywords"
        return FindOptions(**values)

    def document(self) -> dict[str, Any]:
        """Those that matter for the method, as JSON types."""
        values = asdict(self.resolved())
        return {
            key: value for key, value in values.items() if key != ("seeds" if self.method == "keywords" else "match")
        }
