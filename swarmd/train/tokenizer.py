"""Text to token ids: plain bytes, or any tokenizer.json; and both back as files other tools open."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from swarmd.protocols.errors import NotFound, ProtocolViolation, UsageError
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import JobSpec, TokenizerSpec
from swarmd.protocols.specrules import BYTE_VOCABULARY
from swarmd.train.shards import Tokens

MAX_TOKENIZER_BYTES = 64 << 20

SPECIAL_TOKENS = {
    "bos_token": ("<s>", "<|begin_of_text|>", "<|startoftext|>", "<bos>"),
    "eos_token": ("</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>"),
    "unk_token": ("<unk>",),
    "pad_token": ("<pad>", "<|pad|>", "<|finetune_right_pad_id|>"),
}
"""The usual names of special tokens: a tokenizer.json lists them without saying which is which."""


class Blobs(Protocol):
    """Where a tokenizer.json is kept."""

    def get(self, name: BlobHash) -> bytes:
        """The bytes of a blob."""
        ...


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A ready tokenizer. ``encode`` takes valid UTF-8 and adds no special tokens."""

    spec: TokenizerSpec
    vocabulary: int
    """Smallest vocabulary that has all its ids."""
    encode: Callable[[bytes], Tokens]


def bytes_tokenizer() -> Tokenizer:
    """Ids 0-255 are the bytes themselves."""
    return Tokenizer(TokenizerSpec(kind="bytes"), BYTE_VOCABULARY, lambda text: np.frombuffer(text, np.uint8))


def file_tokenizer(file: Path, put: Callable[[bytes], BlobHash]) -> Tokenizer:
    """A tokenizer.json, kept as a blob too.

    Raises:
        NotFound: no such file.
        UsageError: not a tokenizer.json, unreadable or over 64 MiB.
    """
    raw = _read(file)
    library = _load(raw, str(file))
    vocabulary = max(library.get_vocab(with_added_tokens=True).values(), default=0) + 1

    def encode(text: bytes) -> Tokens:
        return np.asarray(library.encode(text.decode(), add_special_tokens=False).ids, dtype=np.uint32)

    return Tokenizer(TokenizerSpec(kind="file", file=put(raw)), vocabulary, encode)


def write_tokenizer(spec: JobSpec, blobs: Blobs, out_dir: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, for ``AutoTokenizer.from_pretrained(out_dir)``.

    Raises:
        NotFound: the tokenizer's blob is not here.
        ProtocolViolation: the blob is not a tokenizer.json.
    """
    tokenizer = spec.tokenizer
    raw = byte_level_json() if tokenizer.file is None else blobs.get(tokenizer.file)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": spec.model.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
        **special_tokens(raw),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "tokenizer.json").write_bytes(raw)
    (out_dir / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def special_tokens(raw: bytes) -> dict[str, str]:
    """Which special tokens a tokenizer.json has, by role. Raises ProtocolViolation for any other file."""
    try:
        content: Any = json.loads(raw)
        named = {token["content"] for token in content.get("added_tokens") or () if token.get("special")}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise ProtocolViolation(f"the job's tokenizer is not a tokenizer.json: {error}") from error
    roles = {role: [name for name in names if name in named] for role, names in SPECIAL_TOKENS.items()}
    return {role: names[0] for role, names in roles.items() if names}


def byte_level_json() -> bytes:
    """A tokenizer.json whose 256 tokens are the bytes: id = byte value, no merges, no special tokens."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers

    library = Library(models.BPE(vocab=_byte_letters(), merges=[]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = decoders.ByteLevel()
    text: str = library.to_str(pretty=True)
    return text.encode()


def _byte_letters() -> dict[str, int]:
    """The letter that byte-level tokenizers (GPT-2, Radford et al. 2019) write for each byte."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
    return dict(sorted(letters.items(), key=lambda item: item[1]))


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_TOKENIZER_BYTES:
            raise UsageError(f"{file} is over {MAX_TOKENIZER_BYTES >> 20} MiB", hint="name a tokenizer.json")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{file} is not there", hint="paths start at the job file's folder") from error
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", hint="check its permissions") from error


class _Encoding(Protocol):
    ids: list[int]


class _Library(Protocol):
    """What is used of the ``tokenizers`` library, which has no types."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> _Encoding: ...

    def get_vocab(self, *, with_added_tokens: bool) -> dict[str, int]: ...

    def no_truncation(self) -> None: ...

    def no_padding(self) -> None: ...


def _load(raw: bytes, name: str) -> _Library:
    from tokenizers import Tokenizer as Library

    try:
        special_tokens(raw)
        library: _Library = Library.from_buffer(raw)
        library.no_truncation()
        library.no_padding()
    except (ValueError, ProtocolViolation) as error:
        hint = "name a tokenizer.json as the tokenizers library writes it"
        raise UsageError(f"{name} is not a tokenizer.json: {error}", hint=hint) from error
    return library
