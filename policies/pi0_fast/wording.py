"""What Pi0-FAST is told and what it says: prompts with the state in words, and answers as action tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import CheckpointError
from vlasteer.policies.pi_family.tokenizer import PaliGemmaTokenizer

STATE_BINS = 256
_EDGES = np.linspace(-1, 1, STATE_BINS + 1)[:-1]
_FRAME = "Action: "
_END = "|"


def prompt_text(instruction: str, state: NDArray[np.float32]) -> str:
    """The prompt.

    Args:
        instruction: the task in words.
        state: float32 [n], normalised. A number becomes the index of its bin of [-1, 1], -1 below and 255 above.
    """
    task = instruction.strip().replace("_", " ").replace("\n", " ")
    numbers = " ".join(str(i) for i in np.digitize(state, bins=_EDGES) - 1)
    return f"Task: {task}, State: {numbers};\n"


class Answer(NamedTuple):
    """A generated sequence.

    Attributes:
        fast_ids: codec ids of what stands between frame and end; ids that are no action tokens come out of range.
        foreign: how many generated ids are neither action tokens nor frame nor end.
        framed: whether the answer begins as in training; the reference refuses one that does not.
    """

    fast_ids: list[int]
    foreign: int
    framed: bool


class ActionTokens:
    """Action tokens take the end of PaliGemma's vocabulary, backwards, but for the last `skipped` ids.

    An answer reads `Action: `, action tokens, `|`.

    Args:
        tokenizer: PaliGemma's.
        codec_size: ids of the codec.
        skipped: ids at the end that stay what they are (PaliGemma's 128 segmentation tokens).

    Raises:
        CheckpointError: this is not the vocabulary that the model was trained with, or the codec does not fit into it.
    """

    def __init__(self, tokenizer: PaliGemmaTokenizer, codec_size: int, skipped: int) -> None:
        self._last = tokenizer.rows - 1 - skipped
        # PaliGemma's location tokens come right before the segmentation tokens; another vocabulary moves every action.
        if (found := tokenizer.token("<loc1023>")) != self._last:
            raise CheckpointError(
                f"the tokenizer has '<loc1023>' at {found}",
                expected=f"{self._last}: vocabulary of {tokenizer.rows} - 1 - {skipped} skipped tokens",
                fix="Use the tokenizer that the checkpoint was trained with: --tokenizer FOLDER",
            )
        self.ids = range(self._last + 1 - codec_size, self._last + 1)
        end = tokenizer.token(_END)
        if end is None or self.ids.start < 0:
            raise CheckpointError(
                f"the tokenizer has {tokenizer.rows} tokens, '{_END}' at {end}, and the codec {codec_size}",
                expected="PaliGemma's tokenizer, and a codec that fits into its vocabulary",
            )
        self.end: int = end
        self._frame = tokenizer.ids(_FRAME)

    def language_ids(self, fast_ids: Sequence[int]) -> list[int]:
        """Codec ids as ids of the language model."""
        return [self._last - i for i in fast_ids]

    def fast_id(self, token: int) -> int:
        """An id of the language model as a codec id; out of the codec's range for what is no action token."""
        return self._last - token

    def read(self, generated: Sequence[int]) -> Answer:
        """Take an answer apart.

        As in the reference, what follows the first end is dropped, and so is the frame wherever it occurs.
        """
        ids = list(generated)
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        length = len(self._frame)
        inner = ids[length:] if ids[:length] == self._frame else ids
        foreign = sum(i not in self.ids for i in inner)
        framed = ids[:2] == self._frame[:2]  # the reference compares `Action` and `:` only
        at = 0
        while at <= len(ids) - length:
            if ids[at : at + length] == self._frame:
                del ids[at : at + length]
            else:
                at += 1
        return Answer([self.fast_id(i) for i in ids], foreign, framed)
