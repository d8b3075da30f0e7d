"""Where things are inside a policy: FFN sites, their value vectors, and the token basis they are read on.

An FFN writes `FFN(x) = sum_i f(x)_i * w_i` into the residual stream (Geva et al. 2022): `w_i`, the value vector of
neuron i, is column i of `down_proj.weight`; its activation coefficient `f(x)_i` is element i of the INPUT of
`down_proj`. That input is the one place where this package reads and overwrites neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlasteer.errors import CheckpointError, SteeringError, UnknownNameError
from vlasteer.passes import PassContext


@dataclass(frozen=True, order=True, slots=True)
class Neuron:
    """One FFN neuron."""

    stream: str
    layer: int
    index: int

    def __str__(self) -> str:
        return f"{self.stream}:{self.layer}:{self.index}"


class SiteKey(NamedTuple):
    """Names one FFN: `stream` is "vlm" or "expert"."""

    stream: str
    layer: int

    def __str__(self) -> str:
        return f"{self.stream}:{self.layer}"


@dataclass(frozen=True)
class Site:
    """One FFN of one layer in one stream.

    Attributes:
        key: stream and layer.
        width: number of neurons (d_ff).
        hidden: length of a value vector (the residual stream).
        path: dotted path of the module that holds `down_proj`, inside the policy's model.
        reaches_action: False where the architecture itself keeps this FFN from influencing any action (the last VLM
            layer of Pi0); such a site is refused for steering unless asked for as a negative control.
    """

    key: SiteKey
    width: int
    hidden: int
    path: str
    reaches_action: bool = True


class TokenBasis:
    """The vocabulary as directions: what value vectors are projected on.

    Args:
        matrix: [vocabulary, hidden] output embeddings (`lm_head.weight`, or the tied embedding), any float dtype.
        norm_gain: float32 [hidden] gain of the final norm (Llama: gamma; Gemma: 1 + weight), for the folded projection.
        labels: id -> text for people; action tokens read as the bin value that they stand for.
        ids_of: word -> the ids of its single-token forms ("▁word", "word" and their casings), empty if there is none.
        action_ids: ids of the action tokens, ascending.
        undefined_ids: ids without a token (padding of the vocabulary) or never seen in training.
        pieces: id -> raw vocabulary piece, "▁" included.
    """

    def __init__(
        self,
        *,
        matrix: Tensor,
        norm_gain: Tensor,
        labels: Callable[[int], str],
        pieces: Callable[[int], str],
        ids_of: Callable[[str], Sequence[int]],
        action_ids: Sequence[int],
        undefined_ids: Sequence[int] = (),
    ) -> None:
        self.matrix = matrix
        self.norm_gain = norm_gain
        self.action_ids = tuple(action_ids)
        self.undefined_ids = tuple(undefined_ids)
        self._labels, self._pieces, self._ids_of = labels, pieces, ids_of
        self._action_set = frozenset(self.action_ids)

    @property
    def size(self) -> int:
        """Rows of `matrix`, padding included."""
        return self.matrix.shape[0]

    def label(self, token: int) -> str:
        """Text of a token for people; an action token reads as its normalised bin value, e.g. `<a +0.25>`."""
        return self._labels(token)

    def piece(self, token: int) -> str:
        """The vocabulary's own piece, e.g. "▁fast"."""
        return self._pieces(token)

    def ids_of(self, word: str) -> tuple[int, ...]:
        """Ids of the single-token forms of `word`, or an empty tuple."""
        return tuple(self._ids_of(word))

    def is_action(self, token: int) -> bool:
        """Whether the id is an action token."""
        return token in self._action_set


class Anatomy:
    """The FFN sites of one loaded policy, bound to its real modules.

    Args:
        model: the module that holds everything; `Site.path` is relative to it.
        sites: all FFNs, ordered by stream and layer.
        contexts: stream name -> the pass context of that stream. Its kinds of position are the stream's scopes.
        token_basis: for the stream "vlm"; streams without a vocabulary cannot be projected.
        probe: runs a fixed short observation through the policy and returns the tensor that actions are decoded from;
            the self-test compares its results bit for bit.

    Raises:
        CheckpointError: a site's module is absent or has another shape than stated.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        sites: Sequence[Site],
        contexts: Mapping[str, PassContext],
        token_basis: TokenBasis,
        probe: Callable[[], Tensor],
    ) -> None:
        self.model = model
        self.sites = tuple(sites)
        self.contexts = dict(contexts)
        self.token_basis = token_basis
        self.probe = probe
        self._by_key = {site.key: site for site in self.sites}
        for site in self.sites:
            weight = self.down_proj(site).weight
            if tuple(weight.shape) != (site.hidden, site.width):
                raise CheckpointError(
                    f"{site.path}.down_proj.weight has shape {tuple(weight.shape)}",
                    expected=f"({site.hidden}, {site.width}) for site {site.key}",
                )

    # -- names ---------------------------------------------------------------------------------------------------------
    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, e.g. ("vlm", "expert")."""
        return tuple(self.contexts)

    def stream_sites(self, stream: str) -> tuple[Site, ...]:
        """The sites of one stream by layer."""
        if stream not in self.contexts:
            raise UnknownNameError.among("stream", stream, self.contexts)
        return tuple(site for site in self.sites if site.key.stream == stream)

    def site(self, stream: str, layer: int) -> Site:
        """The site of one layer.

        Raises:
            SteeringError: no such layer.
        """
        sites = self.stream_sites(stream)
        found = self._by_key.get(SiteKey(stream, layer))
        if found is None:
            raise SteeringError(f"layer {layer} of stream '{stream}'", expected=f"a layer from 0 to {len(sites) - 1}")
        return found

    def check(self, neuron: Neuron) -> Site:
        """The site of a neuron.

        Raises:
            SteeringError: the layer or the index does not exist.
        """
        site = self.site(neuron.stream, neuron.layer)
        if not 0 <= neuron.index < site.width:
            raise SteeringError(
                f"neuron {neuron.index} of layer {neuron.layer} in stream '{neuron.stream}'",
                expected=f"an index from 0 to {site.width - 1}",
            )
        return site

    def flat(self, neuron: Neuron) -> int:
        """The literature's flat id, `layer * d_ff + index`, within the neuron's stream."""
        return neuron.layer * self.check(neuron).width + neuron.index

    def unflat(self, flat: int, stream: str = "vlm") -> Neuron:
        """The neuron of a flat id.

        Raises:
            SteeringError: the id is not below the stream's number of neurons.
        """
        width = self.stream_sites(stream)[0].width
        layer, index = divmod(flat, width)
        neuron = Neuron(stream, layer, index)
        if flat < 0 or layer >= len(self.stream_sites(stream)):
            count = width * len(self.stream_sites(stream))
            raise SteeringError(f"flat neuron id {flat} in stream '{stream}'", expected=f"an id from 0 to {count - 1}")
        return neuron

    # -- modules -------------------------------------------------------------------------------------------------------
    def mlp(self, site: Site) -> nn.Module:
        """The module that holds `down_proj`."""
        try:
            return self.model.get_submodule(site.path)
        except AttributeError as error:
            raise CheckpointError(f"the model has no module '{site.path}' ({error})") from error

    def down_proj(self, site: Site) -> nn.Linear:
        """The output projection of the FFN; while a steering is mounted, the original one underneath."""
        module = getattr(self.mlp(site), "down_proj", None)
        module = getattr(module, "linear", module)
        if not isinstance(module, nn.Linear):
            raise CheckpointError(f"{site.path} has no linear 'down_proj' (found {type(module).__name__})")
        return module

    def value_vectors(self, site: Site) -> Tensor:
        """[width, hidden] view of the value vectors: row i is `w_i`. No copy; do not write to it."""
        return self.down_proj(site).weight.detach().T


class Activations:
    """Down-projection inputs that `record_activations` collected.

    `passes[key]` is a list with one tensor [batch, positions, neurons] per forward pass, on the CPU.
    """

    def __init__(self) -> None:
        self.passes: dict[SiteKey, list[Tensor]] = {}


@contextmanager
def record_activations(
    anatomy: Anatomy,
    sites: Sequence[Site] | None = None,
    *,
    last_position_only: bool = False,
    neurons: Mapping[SiteKey, Sequence[int]] | None = None,
) -> Iterator[Activations]:
    """Collect what enters `down_proj` (after steering) at `sites` (default all) while the context is open.

    Args:
        anatomy: of the policy that will act inside the context.
        sites: which FFNs.
        last_position_only: keep only the last position of every pass.
        neurons: site -> indices to keep; sites that are absent keep all of their neurons.
    """
    collected = Activations()
    handles = []

    def hook_for(key: SiteKey) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        keep = None if neurons is None or key not in neurons else list(neurons[key])
        store = collected.passes.setdefault(key, [])

        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            values = args[0].detach()
            if last_position_only:
                values = values[:, -1:]
            if keep is not None:
                values = values[..., keep]
            store.append(values.to("cpu", copy=True))

        return hook

    try:
        for site in anatomy.sites if sites is None else sites:
            handles.append(anatomy.down_proj(site).register_forward_pre_hook(hook_for(site.key)))
        with torch.no_grad():
            yield collected
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def record_kinds(anatomy: Anatomy, sites: Sequence[Site]) -> Iterator[dict[str, list[Tensor]]]:
    """Stream -> int64 [positions] kinds of every pass, in the order in which `record_activations` sees the passes.

    Args:
        anatomy: of the policy that will act inside the context.
        sites: in whose streams; the first one of each stream is listened to.
    """
    passes: dict[str, list[Tensor]] = {}
    with ExitStack() as stack:
        for site in sites:
            stream = site.key.stream
            if stream in passes:
                continue
            record = passes[stream] = []
            kinds = anatomy.contexts[stream].kinds

            def hook(
                _module: object, args: tuple[Tensor, ...], kinds: Tensor = kinds, record: list[Tensor] = record
            ) -> None:
                record.append(kinds[: args[0].shape[1]].clone())

            stack.callback(anatomy.down_proj(site).register_forward_pre_hook(hook).remove)
        yield passes
