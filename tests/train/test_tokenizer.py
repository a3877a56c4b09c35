"""Tokenizers: bytes and tokenizer.json, and the folder that AutoTokenizer opens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swarmd.blobs import BlobStore
from swarmd.protocols.errors import NotFound, ProtocolViolation, UsageError
from swarmd.protocols.jobfile import parse_job
from swarmd.protocols.spec import JobSpec, TokenizerSpec
from swarmd.train.prepare import prepare
from swarmd.train.tokenizer import (
    byte_level_json,
    bytes_tokenizer,
    file_tokenizer,
    special_tokens,
    write_tokenizer,
)

TEXT = "def f(x):  return 'naïve' # 日本 🙂\r\n\tend\n"


def train_a_tokenizer(file: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(["the cat and the dog and the hat"] * 20, trainer)
    library.enable_truncation(4)
    library.save(str(file))


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def spec(tmp_path: Path, blobs: BlobStore) -> JobSpec:
    (tmp_path / "a.txt").write_text("the cat and the dog\n" * 4000)
    job = parse_job('[data]\ntext = "a.txt"\n[batch]\nsequence_length = 16\n', "job.toml")
    return prepare(job, tmp_path, blobs)


def test_bytes_are_their_own_ids() -> None:
    tokenizer = bytes_tokenizer()
    assert tokenizer.encode(TEXT.encode()).tolist() == list(TEXT.encode())
    assert tokenizer.vocabulary == 256


@pytest.mark.slow
def test_transformers_reads_the_byte_tokenizer_with_the_same_ids(
    spec: JobSpec, blobs: BlobStore, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(spec, blobs, tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    every_character = "".join(map(chr, [*range(0x800), *range(0x800, 0xD800, 97), *range(0x10000, 0x110000, 4099)]))
    for text in (TEXT, every_character, "  two  spaces ", "\n\n"):
        ids = theirs.encode(text)
        assert ids == list(text.encode())
        assert theirs.decode(ids) == text
    assert len(theirs) == 256
    assert theirs.all_special_tokens == []


def test_the_byte_tokenizer_has_all_256_bytes_and_nothing_else() -> None:
    from tokenizers import Tokenizer

    library = Tokenizer.from_buffer(byte_level_json())
    assert sorted(library.get_vocab().values()) == list(range(256))
    assert library.decode([0x64, 0xC3, 0xAF]) == "dï"


@pytest.mark.slow
def test_a_tokenizer_file_gives_the_same_ids_here_and_in_transformers(
    spec: JobSpec, blobs: BlobStore, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    train_a_tokenizer(tmp_path / "tokenizer.json")
    ours = file_tokenizer(tmp_path / "tokenizer.json", blobs.put)
    with_file = replace(spec, tokenizer=ours.spec)
    write_tokenizer(with_file, blobs, tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    ids = ours.encode(TEXT.encode()).tolist()
    assert ids == theirs.encode(TEXT, add_special_tokens=False)
    assert theirs.decode(ids) == TEXT
    assert (theirs.bos_token, theirs.eos_token) == ("<s>", "</s>")


def test_a_limit_inside_a_tokenizer_file_does_not_cut_the_text(blobs: BlobStore, tmp_path: Path) -> None:
    train_a_tokenizer(tmp_path / "tokenizer.json")
    assert len(file_tokenizer(tmp_path / "tokenizer.json", blobs.put).encode(b"the cat " * 50)) > 50


def test_special_tokens_are_found_by_their_usual_names() -> None:
    added = [{"content": "<|endoftext|>", "special": True}, {"content": "<s>", "special": False}]
    assert special_tokens(json.dumps({"added_tokens": added}).encode()) == {"eos_token": "<|endoftext|>"}


def test_a_missing_tokenizer_file_is_named(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.json is not there"):
        file_tokenizer(tmp_path / "none.json", blobs.put)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {"type": "Magic"}}', "[" * 100_000])
def test_a_file_that_is_no_tokenizer_is_refused(content: str, blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(UsageError, match=r"t\.json is not a tokenizer\.json"):
        file_tokenizer(tmp_path / "t.json", blobs.put)


def test_a_blob_that_is_no_tokenizer_is_the_peers_fault(spec: JobSpec, blobs: BlobStore, tmp_path: Path) -> None:
    hostile = replace(spec, tokenizer=TokenizerSpec(kind="file", file=blobs.put(b"\xff")))
    with pytest.raises(ProtocolViolation, match=r"not a tokenizer\.json"):
        write_tokenizer(hostile, blobs, tmp_path / "out")
