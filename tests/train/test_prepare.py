"""Resolving job files: the same text gives the same spec; what is missing is said."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from swarmd.blobs import BlobStore
from swarmd.protocols.errors import JobFileError, NotFound, UsageError
from swarmd.protocols.jobfile import parse_job
from swarmd.protocols.spec import JobSpec, parse_spec
from swarmd.protocols.speccheck import check_spec
from swarmd.train.data import TokenData
from swarmd.train.prepare import main, prepare, read_job

DOTTED = "batch.sequence_length = 32\nevaluation.windows = 8\n"
SMALL = "[batch]\nsequence_length = 32\n[evaluation]\nwindows = 8\n"
TEXT = "One line of text, as an honest one as any other: naïve.\n" * 1300


def resolve(text: str, base: Path) -> JobSpec:
    return prepare(parse_job(text, "job.toml"), base, BlobStore(base / "blobs"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(TEXT)
    return tmp_path


def test_a_resolved_job_passes_the_check_for_specs_from_peers(base: Path) -> None:
    spec = resolve("data.text = 'a.txt'\n" + SMALL, base)
    check_spec(parse_spec(spec.to_bytes()))
    assert spec.model.vocab_size == 256
    assert spec.data.train_tokens + spec.data.held_out_tokens == len(TEXT.encode())


def test_the_same_text_gives_the_same_spec_anywhere(base: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.txt").write_text(TEXT)
    first = resolve("data.text = 'a.txt'\n" + SMALL, base)
    second = resolve("name = 'job'\n" + SMALL + "[data]\ntext = ['other.txt']\n[run]\nmax_stages = 2\n", tmp_path / "b")
    assert first == second
    assert first.spec_id == second.spec_id


@pytest.mark.parametrize("change", ["seed = 1", "steps = 299", "name = 'other'", "optimizer.lr = 0.002"])
def test_a_changed_setting_changes_the_spec_id(change: str, base: Path) -> None:
    job = "data.text = 'a.txt'\n" + SMALL
    assert resolve(f"{change}\n{job}", base).spec_id != resolve(job, base).spec_id


def test_a_step_that_is_left_uncut_is_cut_for_one_process(base: Path) -> None:
    text = "data.text = 'a.txt'\nbatch.sequences = 12\n" + DOTTED
    spec = resolve(text, base)
    assert (spec.batch.micro_batch_size, spec.batch.micro_batches, spec.schedule.eval_windows) == (4, 3, 8)
    named = resolve(text + "batch.micro_batch_size = 4\n", base)
    assert named.spec_id == spec.spec_id


def test_held_out_text_is_never_trained_on(base: Path) -> None:
    blocks = [bytes([33 + n]) * 4096 for n in range(64)]
    (base / "blocks.txt").write_bytes(b"".join(blocks))
    spec = resolve("data.text = 'blocks.txt'\n" + SMALL, base)
    data = TokenData(spec, BlobStore(base / "blobs").get)
    held_out = {int(token) for piece in data.held_out.pieces() for token in piece}
    trained = {int(token) for piece in data.train.pieces() for token in piece}
    assert held_out == {33 + 15, 33 + 31, 33 + 47, 33 + 63}
    assert trained.isdisjoint(held_out)
    assert len(trained | held_out) == 64


def test_the_embedded_text_is_enough_for_the_demo(base: Path) -> None:
    spec = resolve("data.embedded = true\n", base)
    check_spec(spec)
    assert spec.data.held_out_tokens > 20_000


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        ("", 100, "the text has 100 bytes; 61,697 are needed for one step of 32 tokens each"),
        (
            "",
            61_696,
            "the text has 61,696 bytes; 61,697 are needed for 8 evaluation windows of 32 tokens each",
        ),
        (
            "batch.micro_batches = 4096\n",
            70_000,
            "the text has 70,000 bytes; 139,265 are needed for one step of 32 tokens each",
        ),
    ],
)
def test_too_little_text_says_how_much_is_needed(settings: str, size: int, message: str, base: Path) -> None:
    (base / "short.txt").write_text("x" * size)
    job = settings + SMALL.replace("[batch]\nsequence_length", "batch.sequence_length") + "[data]\ntext = 'short.txt'\n"
    with pytest.raises(UsageError) as caught:
        resolve(job, base)
    assert caught.value.message == message
    assert "sequence_length" in caught.value.hint


def test_just_enough_text_is_enough(base: Path) -> None:
    (base / "short.txt").write_text("x" * 61_697)
    check_spec(resolve("data.text = 'short.txt'\n" + SMALL, base))


def write_word_tokenizer(file: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    library = Tokenizer(models.WordLevel({"[UNK]": 0, "line": 1, "text": 2, "high": 70_000}, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.save(str(file))


def test_a_tokenizer_file_decides_vocabulary_and_width(base: Path) -> None:
    write_word_tokenizer(base / "tokenizer.json")
    job = "data.text = 'a.txt'\ntokenizer.file = 'tokenizer.json'\n" + SMALL
    spec = resolve(job, base)
    check_spec(spec)
    assert (spec.model.vocab_size, spec.data.dtype) == (70_001, "u32")
    assert spec.tokenizer.file is not None
    assert BlobStore(base / "blobs").get(spec.tokenizer.file) == (base / "tokenizer.json").read_bytes()


def test_a_vocabulary_below_the_tokenizers_is_refused(base: Path) -> None:
    write_word_tokenizer(base / "tokenizer.json")
    job = "model.vocab = 70_000\ndata.text = 'a.txt'\ntokenizer.file = 'tokenizer.json'\n" + SMALL
    with pytest.raises(UsageError, match="the tokenizer needs a vocabulary of 70001; the model's is 70000"):
        resolve(job, base)


@pytest.mark.slow
def test_the_command_prints_one_line_of_json(base: Path) -> None:
    (base / "job.toml").write_text("data.text = 'a.txt'\n[run]\nmin_stages = 2\n" + SMALL)
    command = [sys.executable, "-m", "swarmd.train.prepare", "job.toml", "--blobs", "kept"]
    done = subprocess.run(command, cwd=base, capture_output=True, check=True, timeout=60)
    assert done.stdout.count(b"\n") == 1
    answer = json.loads(done.stdout)
    spec = parse_spec(base64.b64decode(answer["spec"]))
    assert answer["spec_id"] == spec.spec_id
    assert answer["run"] == {"min_stages": 2, "max_stages": None, "replicas": 1, "restarts": 5, "spares": 1}
    assert TokenData(spec, BlobStore(base / "kept").get).eval_batches == 8


@pytest.mark.parametrize(
    ("job", "code", "error"),
    [
        ("steps = 0", 2, "job_file"),
        ("data.text = 'none.txt'", 6, "not_found"),
        ("data.text = 'short.txt'", 2, "usage"),
        (None, 6, "not_found"),
    ],
)
def test_the_command_tells_errors_as_json(
    job: str | None, code: int, error: str, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "short.txt").write_text("x")
    if job is not None:
        (base / "job.toml").write_text(job)
    assert main([str(base / "job.toml"), "--blobs", str(base / "kept")]) == code
    answer = json.loads(capsys.readouterr().out)["error"]
    assert answer["code"] == error
    assert answer["message"]
    assert answer["hint"]


def test_a_job_file_is_read_from_disk(base: Path) -> None:
    (base / "job.toml").write_bytes(b"\xff")
    with pytest.raises(JobFileError, match="not UTF-8"):
        read_job(base / "job.toml")
    with pytest.raises(UsageError, match="cannot read"):
        read_job(base)
    with pytest.raises(NotFound):
        read_job(base / "none.toml")
