"""Pi0-FAST (Pertsch et al. 2025, "FAST: Efficient Action Tokenization for Vision-Language-Action Models").

PaliGemma reads images, text and the state as words, and writes action tokens: a chunk's cosine transform, quantised and
packed by byte-pair encoding.

codec     FAST: chunks to tokens and back
wording   prompts, and answers as action tokens
settings  what config.json says about decoding
network   PaliGemma and greedy decoding
policy    all of it as a `vlasteer.protocols.Policy`

Imports go from the bottom of this list upwards. The heavy ones wait until a checkpoint is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlasteer.policies.pi_family.lerobot import is_lerobot

if TYPE_CHECKING:
    from vlasteer.policies.pi0_fast.policy import Pi0FastPolicy


def recognises(folder: Path) -> bool:
    """Whether the folder's config.json says that it is a Pi0-FAST of lerobot."""
    return is_lerobot(folder, "pi0_fast")


def load(
    folder: Path,
    name: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    convention: str | None = None,
    tokenizer: str | None = None,
    fast_tokenizer: str | None = None,
    world: str | None = None,
) -> Pi0FastPolicy:
    """Load a checkpoint; see `Pi0FastPolicy` for the options.

    `world` changes nothing: frames are read as worlds give them.
    """
    from vlasteer.policies.pi0_fast.policy import Pi0FastPolicy

    return Pi0FastPolicy(
        Path(folder),
        name,
        device=device,
        dtype=dtype,
        convention=convention,
        tokenizer=tokenizer,
        fast_tokenizer=fast_tokenizer,
    )
