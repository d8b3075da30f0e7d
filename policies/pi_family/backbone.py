"""PaliGemma and Gemma as transformers has them: configuration, weights, prefix, sites, token basis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PaliGemmaModel
from transformers.initialization import no_init_weights
from transformers.models.gemma.modeling_gemma import GemmaRotaryEmbedding, GemmaTextScaledWordEmbedding
from transformers.models.siglip.modeling_siglip import SiglipVisionEmbeddings

from vlasteer.anatomy import Site, SiteKey, TokenBasis
from vlasteer.checkpoints import TensorEntry
from vlasteer.errors import CheckpointError
from vlasteer.policies.pi_family.checkpoint import GemmaSizes, ModelSizes, PiCheckpoint
from vlasteer.policies.pi_family.tokenizer import PaliGemmaTokenizer

VLM, EXPERT = "vlm", "expert"
KINDS = ("text", "image")
TEXT, IMAGE = range(2)


# -- configuration -----------------------------------------------------------------------------------------------------
def gemma_config(sizes: GemmaSizes, vocabulary: int) -> dict[str, Any]:
    """A Gemma decoder for transformers; the rest is Gemma's default (RMSNorm eps 1e-6, RoPE base 10000)."""
    return {
        "model_type": "gemma",
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.depth,
        "intermediate_size": sizes.mlp_dim,
        "num_attention_heads": sizes.num_heads,
        "num_key_value_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_dim,
        "vocab_size": vocabulary,
    }


def paligemma_config(sizes: ModelSizes) -> dict[str, Any]:
    """PaliGemma for transformers."""
    vision = sizes.vision
    return {
        "model_type": "paligemma",
        "text_config": gemma_config(sizes.language, sizes.vocabulary),
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": vision.hidden_size,
            "num_hidden_layers": vision.num_hidden_layers,
            "num_attention_heads": vision.num_attention_heads,
            "intermediate_size": vision.intermediate_size,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "projection_dim": sizes.language.width,
            "vision_use_head": False,
        },
        "projection_dim": sizes.language.width,
        "image_token_id": sizes.vocabulary,  # beyond the vocabulary: images never come as ids here
    }


# -- weights -----------------------------------------------------------------------------------------------------------
@contextmanager
def without_weights() -> Iterator[None]:
    """Modules made inside have parameters of the right shapes and no memory."""
    with torch.device("meta"), no_init_weights():
        yield


def compute_buffers(model: nn.Module, device: torch.device) -> None:
    """Give a model that was made `without_weights` the buffers that no checkpoint stores.

    Raises:
        CheckpointError: a buffer that this function does not know, as another version of transformers may have.
    """
    for name, module in model.named_modules():
        if isinstance(module, GemmaRotaryEmbedding):
            parent, _, child = name.rpartition(".")
            # Its frequencies are always float32.
            setattr(model.get_submodule(parent), child, GemmaRotaryEmbedding(module.config).to(device))
        elif isinstance(module, GemmaTextScaledWordEmbedding):
            module.register_buffer("embed_scale", torch.tensor(module.scalar_embed_scale, device=device), False)
        elif isinstance(module, SiglipVisionEmbeddings):
            module.register_buffer("position_ids", torch.arange(module.num_positions, device=device)[None], False)
    left = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if left:
        raise CheckpointError(
            f"this version of transformers has unknown buffers: {', '.join(left)}", expected="transformers 5.23"
        )


_PALIGEMMA = "paligemma_with_expert.paligemma."


def paligemma_key(key: str) -> str | None:
    """A key of lerobot or openpi, without a leading `model.`, inside transformers' `PaliGemmaModel`; None if elsewhere.

    The output embedding is tied to the input embedding; some files hold one of them, some both. The vision tower of
    transformers 5 has no level `vision_model`.
    """
    if key == f"{_PALIGEMMA}lm_head.weight":
        return "language_model.embed_tokens.weight"
    if not key.startswith(f"{_PALIGEMMA}model."):
        return None
    return key.removeprefix(f"{_PALIGEMMA}model.").replace("vision_tower.vision_model.", "vision_tower.")


class Renamed(NamedTuple):
    """The tensors of a checkpoint under the model's key names.

    Attributes:
        entries: model key -> where the tensor lies.
        stored: model key -> its key in the file.
    """

    entries: dict[str, TensorEntry]
    stored: dict[str, str]


def rename(entries: Mapping[str, TensorEntry], key_of: Callable[[str], str | None]) -> Renamed:
    """Rename a checkpoint's tensors.

    Args:
        entries: from `vlasteer.checkpoints.tensor_index`.
        key_of: file key without a leading `model.` -> model key, or None to drop the tensor.

    Raises:
        CheckpointError: two tensors claim the same place, other than `lm_head` and the embedding that it is tied to.
    """
    renamed = Renamed({}, {})
    for key in sorted(entries, key=lambda name: (not name.endswith("lm_head.weight"), name)):
        target = key_of(key.removeprefix("model."))
        if target is None:
            continue
        if target in renamed.stored:
            if renamed.stored[target].endswith("lm_head.weight"):
                continue  # lm_head wins: some files hold a stale embedding beside it
            raise CheckpointError(
                f"tensors '{renamed.stored[target]}' and '{key}' are the same one", expected="each tensor once"
            )
        renamed.entries[target], renamed.stored[target] = entries[key], key
    return renamed


_FEATURE_TENSORS = re.compile(r"(^|\.)(mlp\.down_proj|language_model\.(embed_tokens|norm))\.weight$")


def features_depend_on(key: str) -> bool:
    """Whether a feature changes when this tensor (by its model key) does: value vectors, embedding, final norm."""
    return _FEATURE_TENSORS.search(key) is not None


# -- prefix ------------------------------------------------------------------------------------------------------------
class Prefix(NamedTuple):
    """Image and text positions in front of everything else.

    Attributes:
        embeddings: [batch, positions, hidden].
        valid: bool [batch, positions]; False for empty cameras and padding, which nothing attends to.
        kinds: int64 [positions], index into `KINDS`.
    """

    embeddings: Tensor
    valid: Tensor
    kinds: Tensor

    @property
    def position_ids(self) -> Tensor:
        """int64 [batch, positions]; only valid positions count."""
        return (self.valid.cumsum(dim=1) - 1).clamp(min=0)

    @property
    def attention_mask(self) -> Tensor:
        """bool [batch, 1, positions, positions]: everything attends to everything valid."""
        positions = self.valid.shape[1]
        return self.valid[:, None, None, :].expand(-1, 1, positions, positions)


def embed_prefix(vlm: PaliGemmaModel, pixels: Tensor, empty_cameras: int, ids: Tensor, valid: Tensor) -> Prefix:
    """Camera after camera, then the text.

    Args:
        vlm: the model.
        pixels: float32 [batch, cameras, 3, size, size].
        empty_cameras: image slots behind them, which stay masked.
        ids: int64 [batch, text].
        valid: bool [batch, text].
    """
    embedding: nn.Embedding = vlm.language_model.embed_tokens
    device, dtype = embedding.weight.device, embedding.weight.dtype
    batch, cameras = pixels.shape[:2]
    seeing: Any = vlm.get_image_features(pixels.flatten(0, 1).to(device, dtype))
    features: Tensor = seeing.pooler_output
    images = features.unflatten(0, (batch, cameras)).flatten(1, 2)
    # Nothing attends to an empty camera, so its patches need no vision tower.
    blank = images.new_zeros(batch, empty_cameras * features.shape[1], images.shape[2])
    text = embedding(ids.to(device))
    seen, unseen = images.shape[1], blank.shape[1]
    mask = torch.zeros(batch, seen + unseen, dtype=torch.bool, device=device)
    mask[:, :seen] = True
    kinds = torch.full((seen + unseen + ids.shape[1],), TEXT, dtype=torch.int64)
    kinds[: seen + unseen] = IMAGE
    return Prefix(
        torch.cat([images, blank, text], dim=1),
        torch.cat([mask, valid.to(device)], dim=1),
        kinds.to(device),
    )


# -- anatomy -----------------------------------------------------------------------------------------------------------
def decoder_sites(stream: str, path: str, sizes: GemmaSizes, *, unread_layers: Sequence[int] = ()) -> list[Site]:
    """The FFNs of a Gemma decoder at `path`; nothing reads what `unread_layers` write."""
    return [
        Site(SiteKey(stream, i), sizes.mlp_dim, sizes.width, f"{path}.layers.{i}.mlp", i not in unread_layers)
        for i in range(sizes.depth)
    ]


def token_basis(
    vlm: PaliGemmaModel,
    tokenizer: PaliGemmaTokenizer,
    *,
    action_ids: Sequence[int] = (),
    action_label: Callable[[int], str] = str,
) -> TokenBasis:
    """The tied embedding. Gemma scales input embeddings by sqrt(width); the output side, which this is, it does not."""
    language, actions = vlm.language_model, frozenset(action_ids)
    undefined = [token for token in tokenizer.undefined_ids() if token not in actions]
    return TokenBasis(
        matrix=language.embed_tokens.weight.detach(),
        norm_gain=1 + language.norm.weight.detach().float(),
        labels=lambda token: action_label(token) if token in actions else tokenizer.piece(token),
        pieces=tokenizer.piece,
        ids_of=lambda word: [token for token in tokenizer.ids_of(word) if token not in actions],
        action_ids=action_ids,
        undefined_ids=undefined,
    )


def probe_inputs(checkpoint: PiCheckpoint) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, ids and their mask of a fixed short prefix: one grey-to-white image and four words' worth of ids."""
    size = checkpoint.sizes.vision.image_size
    pixels = torch.linspace(-1, 1, 3 * size * size).view(1, 1, 3, size, size)
    return pixels, torch.arange(2, 6)[None], torch.ones(1, 4, dtype=torch.bool)
