"""Content-addressed files: a blob's name is the BLAKE3 of its bytes.

A blob is written beside its place, flushed and renamed, so a name never stands for half a blob; it is
checked against its name whenever it is read whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blake3 import blake3

from swarmd.protocols.errors import NotFound, ProtocolViolation, StateError
from swarmd.protocols.ids import BlobHash, is_hash


def blob_hash(data: bytes | bytearray | memoryview) -> BlobHash:
    """The name of these bytes."""
    return BlobHash(blake3(data).hexdigest())


class BlobStore:
    """Blobs under one folder. Safe for several processes at once: writes are idempotent."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: BlobHash) -> Path:
        """Where a blob is, or would be."""
        if not is_hash(name):
            raise NotFound(f"{name!r} is not the name of a blob")
        return self.root / name[:2] / name

    def has(self, name: BlobHash) -> bool:
        """Whether the blob is here."""
        return self.path(name).is_file()

    def size(self, name: BlobHash) -> int:
        """Bytes of a blob. Raises NotFound."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"blob {name} is not here") from None

    def put(self, data: bytes | bytearray | memoryview) -> BlobHash:
        """Keep bytes; gives their name. Raises StateError when the disk will not take them."""
        name = blob_hash(data)
        if not self.has(name):
            self._write(self.path(name), data)
        return name

    def get(self, name: BlobHash) -> bytes:
        """The bytes of a blob. Raises NotFound, or StateError if the file no longer matches its name."""
        try:
            data = self.path(name).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"blob {name} is not here") from None
        if blob_hash(data) != name:
            raise StateError(
                f"blob {name} is damaged on disk",
                hint=f"delete {self.path(name)}; it is fetched or made again when needed",
            )
        return data

    def delete(self, name: BlobHash) -> None:
        """Forget a blob; no error if it is not here."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[BlobHash]:
        """Every blob here."""
        return (BlobHash(file.name) for file in self.root.glob("??/*") if is_hash(file.name))

    def total_bytes(self) -> int:
        """Bytes of all blobs."""
        return sum(self.size(name) for name in self.names())

    def writer(self, name: BlobHash) -> BlobWriter:
        """A writer for a blob that comes in pieces."""
        return BlobWriter(self.path(name), name)

    def _write(self, place: Path, data: bytes | bytearray | memoryview) -> None:
        with _disk(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=place.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, place)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise


class BlobWriter:
    """Takes a blob piece by piece; it is kept only if the whole matches its name.

    A context manager: what is not committed when the block ends is forgotten.
    """

    def __init__(self, place: Path, name: BlobHash) -> None:
        self._place, self._name, self._hash = place, name, blake3()
        with _disk(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, self._beside = tempfile.mkstemp(dir=place.parent, prefix=".new-")
            self._file = os.fdopen(handle, "wb")

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next piece. Raises StateError when the disk will not."""
        self._hash.update(piece)
        with _disk(self._place):
            self._file.write(piece)

    def commit(self) -> None:
        """Keep the blob. Raises ProtocolViolation if it is not what its name says; StateError as ``write``."""
        if self._hash.hexdigest() != self._name:
            raise ProtocolViolation(f"a peer sent other bytes than blob {self._name}")
        with _disk(self._place):
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._beside, self._place)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        with suppress(OSError):  # a full disk has been reported by the write
            self._file.close()
        Path(self._beside).unlink(missing_ok=True)


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free disk space or choose another --state-dir"
        raise StateError(f"cannot write {place}: {error.strerror}", hint=hint) from error
