"""`vlasteer find`: neurons that mean a concept, with the evidence, into a feature pack."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vlasteer.errors import ConfigError, OutputError
from vlasteer.launch.progress import progress_bar
from vlasteer.launch.reading import ReadingOptions, project_policy

if TYPE_CHECKING:
    from vlasteer.finding import FindOptions, Lexicon
    from vlasteer.launch.natural import ObservationSource
    from vlasteer.projection import Projection
    from vlasteer.protocols import Policy
    from vlasteer.steering import Feature, FeaturePack

_LEAST_TOKENS = 30


@dataclass(frozen=True, kw_only=True)
class Find(ReadingOptions):
    """Find the neurons that mean a concept, show the evidence, and keep them in a feature pack.

    Methods: keywords counts a concept's words among each neuron's top tokens; semantic takes the cluster of neurons
    whose tokens' embeddings are nearest to the concept's word, as in the paper. Run it once per method and compare.

    Example:
        vlasteer find --policy openvla/openvla-7b --concept fast --concept slow --out features.json
    """

    concept: tuple[str, ...]
    """Any word, best one that the lexicon knows: fast, slow, up, down, left, right, forward, back, high, low, careful,
    careless, grip, release, stop, go; repeatable."""
    minus: str | None = None
    """A second concept: rank neurons by their score for the first minus their score for this one."""
    name: str | None = None
    """Name of the feature; default: the concept."""
    method: Literal["keywords", "semantic"] = "keywords"
    """How neurons are chosen."""
    k: int = 10
    """Neurons of a feature (the paper: 10, 20 or 40; on the robot 6)."""
    top_n: int | None = None
    """Tokens per neuron that the method looks at; default 30 for keywords, 5 for semantic."""
    depth: Literal["full", "early", "late"] = "full"
    """All layers, or the early or late half."""
    match: Literal["word", "substring"] = "word"
    """Keywords: a token is one of the words, or holds one within it (stop words excepted)."""
    seeds: int = 1024
    """Semantic: neurons nearest to the concept that are first tried as centres of clusters; 0: all (work for a GPU)."""
    action_tokens: Literal["allow", "exclude"] = "allow"
    """Whether neurons may list action tokens among their top 30."""
    antonyms: Literal["allow", "exclude"] | None = None
    """Whether neurons may list antonyms there; default: exclude for keywords, allow for semantic (as the paper)."""
    negative_control: bool = False
    """Allow neurons that cannot reach an action."""
    scope: str = "all"
    """Where the features act unless a steering says otherwise: all, prefill, decode, image, text, ..."""
    calibrate: str | None = None
    """Run folder, or folder of pictures: measure natural activations there, for coefficients like q0.99."""
    instruction: str | None = None
    """The task in words, for pictures of --calibrate."""
    observations: int = 50
    """How many observations of --calibrate are used, evenly spread."""
    out: str | None = None
    """Feature pack to write or extend; default: only show."""

    def run(self) -> int:
        """Project, find, calibrate, show, keep."""
        from vlasteer.steering.scopes import scope_kinds

        options = self._options()
        source = self._source()
        lexicon = self.load_lexicon()
        policy = self.load_policy(world=None if source is None else source.world)
        scope_kinds(self.scope, next(iter(policy.anatomy.contexts.values())).kind_names)
        pack = open_pack(policy, self.out)
        projection = self.project(policy, max(_LEAST_TOKENS, options.resolved().top_n or 0))
        found = self._find(policy, projection, options, lexicon)
        if source is not None:
            found = self._calibrate(policy, found, source)
        show_and_keep(found, pack, self.out, coefficient=8)
        return 0

    def _options(self) -> FindOptions:
        from vlasteer.finding import FindOptions

        if self.name is not None and len(self.concept) > 1:
            raise ConfigError("--name names one feature", fix="Give one --concept, or leave --name out")
        if self.observations < 1:
            raise ConfigError(f"--observations {self.observations}", expected="at least 1")
        if self.instruction is not None and self.calibrate is None:
            raise ConfigError("--instruction belongs to --calibrate", fix="Add --calibrate FOLDER")
        return FindOptions(
            method=self.method,
            k=self.k,
            top_n=self.top_n,
            depth=self.depth,
            exclude_action_tokens=self.action_tokens == "exclude",
            exclude_antonyms=None if self.antonyms is None else self.antonyms == "exclude",
            unreachable=self.negative_control,
            match=self.match,
            seeds=self.seeds or None,
        )

    def _source(self) -> ObservationSource | None:
        from vlasteer.launch.natural import ObservationSource

        return None if self.calibrate is None else ObservationSource(Path(self.calibrate), self.instruction)

    def _find(self, policy: Policy, projection: Projection, options: FindOptions, lexicon: Lexicon) -> list[Feature]:
        from dataclasses import replace

        from vlasteer.finding import find_feature

        found = []
        for concept in dict.fromkeys(self.concept):
            with progress_bar(f"clusters of {concept}", " seeds") as progress:
                feature = find_feature(
                    policy.anatomy,
                    concept,
                    projection,
                    options,
                    minus=self.minus,
                    name=self.name,
                    lexicon=lexicon,
                    progress=progress,
                )
            found.append(replace(feature, scope=self.scope))
        return found

    def _calibrate(self, policy: Policy, found: list[Feature], source: ObservationSource) -> list[Feature]:
        from vlasteer.calibration import calibrate

        observations = source.read(policy.cameras, self.observations, state_size=policy.state_size)
        with progress_bar("natural activations", " observations") as progress:
            return calibrate(policy, found, observations, progress=lambda done: progress(done, len(observations)))


def open_pack(policy: Policy, path: str | None) -> FeaturePack:
    """The pack at `path` for this policy, an empty one where there is none; refused early when it could not be saved.

    Raises:
        FeaturePackError: it was made for another checkpoint.
        OutputError: the place cannot be written.
    """
    from vlasteer.steering import FeaturePack

    empty = FeaturePack(checkpoint_hash=policy.checkpoint_hash, checkpoint_name=policy.name)
    if path is None:
        return empty
    if Path(path).is_file():
        return FeaturePack.load(path, policy.anatomy, policy.checkpoint_hash)
    trial = Path(f"{path}.part")
    try:
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
        if Path(path).is_dir():
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        raise OutputError(f"the feature pack cannot be written to {path} ({error.strerror})") from error
    return empty


def show_and_keep(found: Sequence[Feature], pack: FeaturePack, out: str | None, *, coefficient: float) -> None:
    """Print features with their evidence, and write them into the pack at `out`; `coefficient` is one to begin with."""
    from vlasteer.launch.evidence import describe

    for feature in found:
        print(describe(feature), end="\n\n")
    if out is None:
        print("Nothing was written; keep these features with --out features.json")
        return
    pack.with_features(*found).save(out)
    names = ", ".join(feature.name for feature in found)
    steer = f"{found[0].name}={coefficient:g}"
    print(f"The features are in {out} ({names}). Steer with them: --pack {out} --steer {steer}")


def find_features(policy: Policy, concepts: Sequence[str]) -> FeaturePack:
    """Features for concept words, found by keywords with default options; what was found is said on standard error.

    Raises:
        ConceptError: a word that is no single token, or that no neuron lists.
    """
    from vlasteer.finding import find_feature
    from vlasteer.projection import ProjectionOptions

    projection = project_policy(policy, ProjectionOptions(top_k=_LEAST_TOKENS))
    pack = open_pack(policy, None)
    for concept in concepts:
        feature = find_feature(policy.anatomy, concept, projection)
        neurons = ", ".join(str(item.neuron) for item in feature.neurons)
        print(f"Feature '{concept}' was found now, by keywords: {neurons}", file=sys.stderr)
        pack = pack.with_features(feature)
    return pack
