"""From an instruction to prompt ids, and between ids, vocabulary pieces and words."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from vlasteer.errors import CheckpointError, ObservationError
from vlasteer.policies.openvla.config import OpenVLAConfig, PromptStyle

_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_TEMPLATES = {
    PromptStyle.PURE: "In: What action should the robot take to {task}?\nOut:",
    PromptStyle.VICUNA: _SYSTEM + " USER: What action should the robot take to {task}? ASSISTANT:",
}
WORD_MARK = "▁"
_LLAMA_LONE_MARK = 29871
"""Llama's id of the lone word marker. Training always had it between the prompt and the first action token."""


def prompt_text(instruction: str, style: PromptStyle) -> str:
    """The words that the language model gets; the task is lower-cased as in training."""
    return _TEMPLATES[style].format(task=instruction.lower())


class PromptTokenizer:
    """The checkpoint's own tokenizer, read from tokenizer.json without any of its code.

    Raises:
        CheckpointError: there is none, it cannot be read, or its vocabulary is not the model's.
    """

    def __init__(self, folder: Path, config: OpenVLAConfig, style: PromptStyle) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(
                f"{folder} has no tokenizer.json",
                expected="the tokenizer in the `tokenizers` format",
                fix="Convert a tokenizer.model once (pip install sentencepiece): "
                f"transformers.LlamaTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')",
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        # tokenizers raises bare Exception for a file that it cannot parse.
        except Exception as error:
            raise CheckpointError(f"{path} cannot be read ({error})", expected="a tokenizer.json") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if not config.vocabulary <= self.size <= config.language.vocab_size:
            raise CheckpointError(
                f"{path} has {self.size} tokens",
                expected=f"{config.vocabulary} to {config.language.vocab_size}, as config.json says",
            )
        mark = self._tokenizer.token_to_id(WORD_MARK)
        self._lone_mark = _LLAMA_LONE_MARK if mark is None else mark
        if self._lone_mark >= config.vocabulary:
            raise CheckpointError(
                f"{path} has no token for the lone word marker '{WORD_MARK}'", expected="one, as Llama's has"
            )
        self._bos = config.language.bos_token_id
        self._style = style
        patches = config.towers[0].patches
        self._longest = config.language.max_position_embeddings - patches

    def encode(self, instruction: str, reserve: int) -> list[int]:
        """Prompt ids with BOS in front and the lone word marker at the end.

        Args:
            instruction: the task in words.
            reserve: positions to leave free for generated ids.

        Raises:
            ObservationError: empty, or too long for the model's context.
        """
        if not instruction.strip():
            raise ObservationError("the instruction is empty", expected="the task in words, e.g. 'open the drawer'")
        text = prompt_text(instruction, self._style)
        ids = [self._bos, *self._tokenizer.encode(text, add_special_tokens=False).ids]
        if ids[-1] != self._lone_mark:
            ids.append(self._lone_mark)
        if len(ids) + reserve > self._longest:
            raise ObservationError(
                f"the instruction makes a prompt of {len(ids)} tokens", expected=f"at most {self._longest - reserve}"
            )
        return ids

    def piece(self, token: int) -> str:
        """The vocabulary's own piece, or a placeholder for rows beyond the vocabulary."""
        return self._tokenizer.id_to_token(token) or f"<undefined {token}>"

    def ids_of(self, word: str) -> tuple[int, ...]:
        """Ids of a word's single-token forms: with and without word marker; as given, lower, title and upper case."""
        cases = dict.fromkeys((word, word.lower(), word.capitalize(), word.upper()))
        forms = [mark + case for mark in (WORD_MARK, "") for case in cases if case]
        found = (self._tokenizer.token_to_id(form) for form in forms)
        return tuple(dict.fromkeys(token for token in found if token is not None))
