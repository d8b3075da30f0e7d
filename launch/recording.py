"""Options of the commands that record, as a mixin of their dataclasses, and the recorders that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlasteer.errors import ConfigError
from vlasteer.launch.options import parse_indices

if TYPE_CHECKING:
    from vlasteer.anatomy import Anatomy, Site
    from vlasteer.protocols import Policy
    from vlasteer.recording import Companion, DatasetWriter, Recorder


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """What is recorded besides the steps."""

    lossless: bool = False
    """Keep every pixel and every token, so that the policy can be asked again exactly; several times larger."""
    activations: tuple[str, ...] = ()
    """Keep the FFN activations of these layers at every call of the policy: vlm:0,5 or expert:all; repeatable."""
    activation_positions: Literal["last", "all"] = "last"
    """Of the last position of every forward pass, or of all: prompt and image are hundreds."""
    activation_dtype: Literal["float32", "float16"] = "float32"
    """Precision of stored activations."""

    @contextmanager
    def tapped(
        self, policy: Policy, dataset: DatasetWriter, *, robot: bool = False
    ) -> Iterator[tuple[Policy, Callable[..., Recorder]]]:
        """The policy to ask, and what makes a recorder for an episode; further companions may be given to it.

        Enter it outside of `steer(...)` or inside. `robot` says that the world does not wait for the policy: what it
        saw is then no step's observation, and `lossless` keeps its pictures with its calls.
        """
        from vlasteer.recording.calls import ActivationChoice, CallTap

        if not self.lossless and not self.activations:
            yield policy, lambda beside=(): dataset.recorder(beside)
            return
        choice = None
        if self.activations:
            sites = parse_sites(self.activations, getattr(policy, "anatomy", None))
            choice = ActivationChoice(sites, self.activation_positions, self.activation_dtype)
        with CallTap(policy, activations=choice, images=self.lossless and robot) as tap:

            def recorder(beside: Sequence[Companion] = ()) -> Recorder:
                return dataset.recorder([tap.recorder(), *beside])

            yield tap.policy, recorder


def parse_sites(expressions: Sequence[str], anatomy: Anatomy | None) -> tuple[Site, ...]:
    """`vlm:0,5-7` or `expert:all` as sites, each once.

    Raises:
        ConfigError: not of this form, no such layer, or a policy whose model is elsewhere.
        UnknownNameError: no such stream.
    """
    if anatomy is None:
        raise ConfigError(
            "--activations was given for a policy whose model is elsewhere", fix="Record them where the policy runs"
        )
    sites: list[Site] = []
    for expression in expressions:
        stream, colon, layers = expression.partition(":")
        if not colon:
            raise ConfigError(f"--activations {expression}", expected="a stream and its layers, e.g. vlm:0,5")
        there = anatomy.stream_sites(stream.strip())
        sites += [there[i] for i in parse_indices(layers, len(there), f"--activations {stream}")]
    return tuple(dict.fromkeys(sites))
