"""Reading text: which files, in which order, and what is said about those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.jobtables import DataTable
from swarmd.train import corpus
from swarmd.train.corpus import read_corpus


def test_files_come_in_the_order_they_are_listed(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("bee")
    (tmp_path / "a.txt").write_text("ay")
    assert read_corpus(DataTable(text=("b.txt", "a.txt")), tmp_path) == b"bee\n\nay"


def test_a_folder_gives_its_text_files_by_relative_path(tmp_path: Path) -> None:
    for name in ("z.txt", "a/z.md", "a/b.txt", "Z.TXT", ".git/x.txt", "a/.hidden.txt", "image.png"):
        file = tmp_path / "books" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "books" / "link.txt").symlink_to(tmp_path / "books" / "z.txt")
    text = read_corpus(DataTable(text=("books",)), tmp_path)
    assert text.split(b"\n\n") == [b"Z.TXT", b"a/b.txt", b"a/z.md", b"z.txt"]


def test_json_lines_give_one_document_per_line(tmp_path: Path) -> None:
    lines = [json.dumps({"body": "one ï"}), "", json.dumps({"body": "two", "other": 3})]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    assert read_corpus(DataTable(jsonl=("d.jsonl",), field="body"), tmp_path) == "one ï\n\ntwo".encode()


def test_the_embedded_text_needs_no_file(tmp_path: Path) -> None:
    text = read_corpus(DataTable(embedded=True), tmp_path)
    assert len(text) > 300_000
    assert text == read_corpus(DataTable(embedded=True), tmp_path / "elsewhere")


WRONG: list[tuple[str, bytes, DataTable, str]] = [
    ("t.txt", b"", DataTable(text=("t.txt",)), "t.txt is empty"),
    ("t.txt", b" \n\t", DataTable(text=("t.txt",)), "t.txt is empty"),
    ("t.txt", b"ab\ncd\xe9f", DataTable(text=("t.txt",)), "t.txt is not UTF-8: byte 5 (line 2) is 0xe9"),
    ("a.png", b"x", DataTable(text=(".",)), "no text files in "),
    ("d.jsonl", b'{"text": "a"}\n{bad}', DataTable(jsonl=("d.jsonl",)), "d.jsonl, line 2: not JSON: "),
    ("d.jsonl", b"[" * 100_000, DataTable(jsonl=("d.jsonl",)), "d.jsonl, line 1: not JSON: "),
    ("d.jsonl", b'\n{"body": "a"}', DataTable(jsonl=("d.jsonl",)), "d.jsonl, line 2: no text under 'text'"),
    ("d.jsonl", b'["text"]', DataTable(jsonl=("d.jsonl",)), "d.jsonl, line 1: no text under 'text'"),
    ("d.jsonl", b'{"text": 7}', DataTable(jsonl=("d.jsonl",)), "d.jsonl, line 1: no text under 'text'"),
    ("d.jsonl", b'{"text": "\\ud800"}', DataTable(jsonl=("d.jsonl",)), "d.jsonl, line 1: half a surrogate"),
    ("d.jsonl", b'{"text": " "}', DataTable(jsonl=("d.jsonl",)), "there is no text in the job's [data]"),
]


@pytest.mark.parametrize(("name", "content", "data", "message"), WRONG)
def test_text_that_cannot_be_used_is_named(
    name: str, content: bytes, data: DataTable, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_corpus(data, tmp_path)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.txt is not there"):
        read_corpus(DataTable(text=("none.txt",)), tmp_path)


def test_a_file_that_may_not_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "t.txt").write_text("x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UsageError, match=r"cannot read .*t\.txt: Permission denied"):
        read_corpus(DataTable(text=("t.txt",)), tmp_path)


def test_text_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "MAX_TEXT_BYTES", 1 << 20)
    (tmp_path / "t.txt").write_text("x" * 600_000)
    with pytest.raises(UsageError, match="the text is over 1 MiB"):
        read_corpus(DataTable(text=("t.txt", "t.txt")), tmp_path)
    (tmp_path / "t.txt").write_text("x" * 1_100_000)
    with pytest.raises(UsageError, match=r"t\.txt is over 1 MiB"):
        read_corpus(DataTable(text=("t.txt",)), tmp_path)
