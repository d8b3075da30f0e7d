"""OpenVLA (Kim et al. 2024): two vision towers, a projector and Llama-2, acting through tokens.

config         config.json as immutable values
vision, model  the network, with the checkpoint's key names
images         processor: a frame as pixel values
libero_images  the frame path of the LIBERO evaluation, stage by stage
prompt         tokenizer and prompts
actions        ids to normalised values to actions
conventions    what the actions of a data set mean
evaluation     what a world asks of the policy: whose statistics, which image path
evaluation     what the world that it is evaluated in asks of it
anatomy        FFN sites, token basis, probe
policy         all of it as a `vlasteer.protocols.Policy`

Imports go from the bottom of this list upwards. The heavy ones wait until a checkpoint is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlasteer.checkpoints import read_json
from vlasteer.errors import CheckpointError

if TYPE_CHECKING:
    from vlasteer.policies.openvla.policy import OpenVLAPolicy


def recognises(folder: Path) -> bool:
    """Whether the folder's config.json says that it is an OpenVLA."""
    try:
        return read_json(folder, "config.json").get("model_type") == "openvla"
    except CheckpointError:
        return False


def load(
    folder: Path,
    name: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    unnorm_key: str | None = None,
    image_path: str | None = None,
    convention: str | None = None,
    prompt_style: str | None = None,
    world: str | None = None,
) -> OpenVLAPolicy:
    """Load a checkpoint; see `OpenVLAPolicy` for the options."""
    from vlasteer.policies.openvla.policy import OpenVLAPolicy

    return OpenVLAPolicy(
        Path(folder),
        name,
        device=device,
        dtype=dtype,
        unnorm_key=unnorm_key,
        image_path=image_path,
        convention=convention,
        prompt_style=prompt_style,
        world=world,
    )
