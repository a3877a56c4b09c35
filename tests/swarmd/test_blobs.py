"""Blobs: named by their bytes, whole or not there, and never outside their folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from swarmd.blobs import BlobStore, blob_hash
from swarmd.protocols.errors import NotFound, ProtocolViolation, StateError
from swarmd.protocols.ids import BlobHash

DATA = b"some bytes"
NAME = blob_hash(DATA)
OTHER = blob_hash(b"other bytes")


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files(store: BlobStore) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file())


def test_what_is_put_is_there_under_its_hash(store: BlobStore) -> None:
    assert not store.has(NAME)
    assert store.put(DATA) == store.put(memoryview(DATA)) == NAME
    assert store.has(NAME)
    assert store.get(NAME) == DATA
    assert store.size(NAME) == store.total_bytes() == len(DATA)
    assert list(store.names()) == files(store) == [NAME]


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: BlobStore) -> None:
    store.put(DATA)
    store.delete(NAME)
    store.delete(NAME)
    assert not store.has(NAME)
    for look in (store.get, store.size):
        with pytest.raises(NotFound, match=f"blob {NAME} is not here"):
            look(NAME)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_no_name_leads_out_of_the_folder(store: BlobStore, name: str) -> None:
    with pytest.raises(NotFound, match="not the name of a blob"):
        store.get(BlobHash(name))


def test_damage_on_disk_is_noticed_and_says_what_to_do(store: BlobStore) -> None:
    store.put(DATA)
    store.path(NAME).write_bytes(b"some bytez")
    with pytest.raises(StateError, match="damaged on disk") as failure:
        store.get(NAME)
    assert f"delete {store.path(NAME)}" in failure.value.hint


def test_a_blob_in_pieces_is_there_once_it_is_whole(store: BlobStore) -> None:
    with store.writer(NAME) as writer:
        for byte in DATA:
            writer.write(bytes([byte]))
        assert not store.has(NAME)
        writer.commit()
    assert store.get(NAME) == DATA
    assert files(store) == [NAME]


def test_other_bytes_than_the_name_says_are_not_kept(store: BlobStore) -> None:
    with store.writer(OTHER) as writer:
        writer.write(DATA)
        with pytest.raises(ProtocolViolation, match="sent other bytes"):
            writer.commit()
    assert files(store) == []


def test_what_is_not_committed_is_forgotten(store: BlobStore) -> None:
    with store.writer(NAME) as writer:
        writer.write(DATA)
    assert files(store) == []


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    store = BlobStore(tmp_path / "blobs")
    for write in (lambda: store.put(DATA), lambda: store.writer(NAME)):
        with pytest.raises(StateError, match=r"cannot write .*: Not a directory") as failure:
            write()
        assert "--state-dir" in failure.value.hint


def test_a_full_disk_leaves_no_half_blob(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device"):
        store.put(DATA)
    with store.writer(NAME) as writer:
        writer.write(DATA)
        with pytest.raises(StateError, match="No space left on device"):
            writer.commit()
    assert files(store) == []
