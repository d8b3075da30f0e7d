"""PaliGemma's tokenizer, read from tokenizer.json: prompts as ids, ids as pieces, words as ids."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vlasteer.errors import CheckpointError, MissingDependencyError, ObservationError

WORD_MARK = "▁"
_UNUSED = re.compile(r"<unused\d+>$")


class PaliGemmaTokenizer:
    """The tokenizer of a checkpoint.

    Args:
        path: tokenizer.json.
        rows: rows of the model's embedding.

    Raises:
        CheckpointError: it cannot be read, has no BOS, or has more tokens than the embedding has rows.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._tokenizer = read_tokenizer(path)
        self.rows = rows
        self.size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if self.size > rows:
            raise CheckpointError(f"{path} has {self.size} tokens", expected=f"at most {rows}, the model's vocabulary")
        bos, pad = self.token("<bos>"), self.token("<pad>")
        if bos is None or pad is None:
            raise CheckpointError(f"{path} has no <bos> or no <pad>", expected="PaliGemma's tokenizer")
        self.bos, self.pad = bos, pad

    def encode(self, text: str, length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids with BOS in front, padded on the right.

        Returns:
            int64 [length] ids and bool [length], True where they are no padding.

        Raises:
            ObservationError: the text needs more than `length` ids. (The reference cuts it silently.)
        """
        ids = [self.bos, *self.ids(text)]
        if len(ids) > length:
            raise ObservationError(
                f"the prompt '{text.strip()}' has {len(ids)} tokens",
                expected=f"at most {length}, as in training",
                fix="Use a shorter instruction",
            )
        padded = np.full(length, self.pad, np.int64)
        padded[: len(ids)] = ids
        return padded, np.arange(length) < len(ids)

    def ids(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def token(self, piece: str) -> int | None:
        """The id of a vocabulary piece, or None."""
        return self._tokenizer.token_to_id(piece)

    def piece(self, token: int) -> str:
        """The vocabulary's own piece, or a placeholder for rows of the embedding without one."""
        return self._tokenizer.id_to_token(token) or f"<undefined {token}>"

    def ids_of(self, word: str) -> tuple[int, ...]:
        """Ids of the single-token forms of a word: with and without word marker, as given, lower, title, upper case."""
        cases = dict.fromkeys((word, word.lower(), word.capitalize(), word.upper()))
        found = (self.token(mark + case) for mark in (WORD_MARK, "") for case in cases if case)
        return tuple(dict.fromkeys(token for token in found if token is not None))

    def undefined_ids(self) -> list[int]:
        """Rows of the embedding that no token uses, or that were reserved and never trained."""
        reserved = [i for i in range(self.size) if _UNUSED.match(self._tokenizer.id_to_token(i) or "<unused0>")]
        return [*reserved, *range(self.size, self.rows)]


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    # tokenizers raises bare Exception for a file that it cannot open or parse.
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({error})", expected="a tokenizer.json") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def find_files(given: str | None, *, beside: Path, hub_name: str, names: tuple[str, ...], option: str) -> Path:
    """The folder that holds files which checkpoints do not carry themselves, such as a tokenizer.

    Looked for where the user says, then beside the checkpoint, then in the hub's cache and on the hub.

    Args:
        given: a folder, one of the files, or a hub name; None when the user has not said.
        beside: the folder where a checkpoint may carry them.
        hub_name: where they come from otherwise.
        names: the files; the first one decides whether a folder is meant.
        option: name of the option, for messages.

    Raises:
        CheckpointError: they are nowhere; gated repositories are named as such.
    """
    if given is not None:
        path = Path(given).expanduser()
        folder = path.parent if path.name == names[0] else path
        if (folder / names[0]).is_file():
            return folder
        if path.exists() or given.count("/") != 1 or given.startswith((".", "~")):
            raise CheckpointError(
                f"{option} '{given}' has no {names[0]}", expected=f"a folder with {names[0]}, or a hub name"
            )
        hub_name = given
    elif (beside / names[0]).is_file():
        return beside
    return _from_hub(hub_name, names, option)


def _from_hub(hub_name: str, names: tuple[str, ...], option: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError(
            "the Python package 'huggingface_hub' is not installed", fix="Run: pip install huggingface_hub"
        ) from error
    local = f"or give a local folder: {option} FOLDER (with {' and '.join(names)})"
    try:
        first, *_ = [Path(hf_hub_download(hub_name, name)) for name in names]
        return first.parent
    except GatedRepoError as error:
        raise CheckpointError(
            f"{names[0]} of '{hub_name}' is gated and this machine has no access to it",
            fix=f"Accept its licence at https://huggingface.co/{hub_name} and run: hf auth login; {local}",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"the checkpoint carries no {names[0]}, and that of '{hub_name}' is neither in the hub cache nor can it be "
            f"downloaded ({type(error).__name__})",
            fix=f"On a connected machine accept the licence, if it is gated, and run: hf download {hub_name} "
            f"{' '.join(names)}; {local}",
        ) from error
