"""FAST (Pertsch et al. 2025): a chunk of actions as few tokens, and back.

Every action dimension is cosine-transformed over time, multiplied by `scale` and rounded. Row by row, these numbers are
the characters `number - min_token` of a text, and byte-pair encoding packs the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct
from tokenizers import Tokenizer

from vlasteer.errors import CheckpointError
from vlasteer.policies.fields import Fields
from vlasteer.policies.pi_family.tokenizer import read_tokenizer

FILES = ("processor_config.json", "tokenizer.json")
_LABELLED = 4
"""Coefficients that a label shows."""


class FastCodec:
    """A fitted codec.

    Args:
        tokenizer: the byte-pair encoding.
        scale: what coefficients are multiplied by; the rounding error of a coefficient is at most 0.5 / scale.
        min_token: the coefficient that is character 0. Smaller ones are clipped to it.
    """

    def __init__(self, tokenizer: Tokenizer, *, scale: float, min_token: int) -> None:
        self._tokenizer, self.scale, self.min_token = tokenizer, scale, min_token
        self.size: int = tokenizer.get_vocab_size(with_added_tokens=True)

    @classmethod
    def read(cls, folder: Path) -> FastCodec:
        """The codec in a folder with processor_config.json and tokenizer.json.

        Raises:
            CheckpointError: a file or field is missing or unusable.
        """
        fields = Fields.of_file(folder, FILES[0])
        codec = cls(
            read_tokenizer(folder / FILES[1]), scale=fields.number("scale"), min_token=int(fields.number("min_token"))
        )
        if not codec.scale > 0:
            raise CheckpointError(f"{fields.where}: scale is {codec.scale}", expected="a positive number")
        return codec

    def encode(self, actions: NDArray[np.floating]) -> list[int]:
        """Normalised actions [time, dimensions] as ids."""
        transformed = np.asarray(dct(np.asarray(actions, np.float64), axis=0, norm="ortho"))
        coefficients = np.around(transformed * self.scale)
        characters = np.maximum(coefficients.reshape(-1) - self.min_token, 0).astype(np.int64)
        return self._tokenizer.encode("".join(map(chr, characters))).ids

    def decode(self, ids: Sequence[int], horizon: int, size: int, *, relaxed: bool = True) -> NDArray[np.float64]:
        """Ids as normalised actions, float64 [horizon, size].

        A sequence that was not made by `encode` may be damaged: ids beyond the vocabulary stand for nothing, and the
        number of coefficients may not fit.

        Args:
            ids: what the model said.
            horizon, size: of the chunk.
            relaxed: cut surplus coefficients and take missing ones for 0 (lerobot); otherwise a damaged sequence is all
                zeros (the published processor).
        """
        wanted = horizon * size
        # The reference fails on a negative id and then answers zeros.
        text = "" if any(i < 0 for i in ids) else self._text(ids)
        coefficients = np.array([ord(character) + self.min_token for character in text], np.float64)
        if relaxed:
            coefficients = np.pad(coefficients[:wanted], (0, max(wanted - len(coefficients), 0)))
        elif len(coefficients) != wanted:
            coefficients = np.zeros(wanted)
        return np.asarray(idct(coefficients.reshape(horizon, size) / self.scale, axis=0, norm="ortho"))

    def label(self, token: int) -> str:
        """An id for people, with the first coefficients behind it, e.g. `<fast 17: +3 0 -1>`."""
        text = self._text([token])
        shown = " ".join(self._coefficient(character) for character in text[:_LABELLED])
        return f"<fast {token}: {shown}{' ...' if len(text) > _LABELLED else ''}>"

    def _coefficient(self, character: str) -> str:
        if character == "\ufffd":
            return "?"  # part of a character, which means something only beside its other part
        return f"{value:+d}" if (value := ord(character) + self.min_token) else "0"

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)
