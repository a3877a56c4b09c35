"""Running out of memory is an answer: the compute process tells it with figures, and lives on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch

from swarmd.blobs import BlobStore
from swarmd.compute.layout import layout_of
from swarmd.compute.messages import Arrived, Broken, Load, Loaded, Start, Time, Timed
from swarmd.compute.process import Compute
from swarmd.compute.thread import open_compute_thread
from swarmd.protocols.boundary import boundary_shape
from swarmd.protocols.errors import OutOfMemory, StateError
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.scheduler.around import chain_around
from swarmd.train import __main__ as commands
from swarmd.train import room, worker
from swarmd.train.shortage import failure, is_shortage
from swarmd.train.stage import Stage
from swarmd.train.staging import Direct
from tests.compute.test_process import RUN, Heard
from tests.train.specs import small_job, small_spec

CUDA = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.6 GiB of which 1.1 GiB is free."
)
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to "
                   "allocate 17179869184 bytes. Error code 12 (Cannot allocate memory)")  # fmt: skip
NUMPY = MemoryError("Unable to allocate 2.00 TiB for an array with shape (549755813888,) and data type float32")
CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
SHORTAGES = [(CUDA, "2.50 GiB"), (CPU, "17179869184 bytes"), (NUMPY, "2.00 TiB"), (CUBLAS, ""), (MemoryError(), "")]


@pytest.mark.parametrize(("error", "asked"), SHORTAGES)
def test_every_library_has_its_own_words_for_it(error: Exception, asked: str) -> None:
    told = failure(error, what="the stage", numbers="1 MiB are free")
    assert isinstance(told, OutOfMemory)
    more = f" when {asked} more were asked for" if asked else ""
    assert told.message == f"the stage ran out of memory{more}; 1 MiB are free"


def test_other_failures_are_not_taken_for_it() -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_shortage(error)
    assert not is_shortage(ValueError("out of memory"))
    assert isinstance(failure(error, what="the stage"), StateError)


@asynccontextmanager
async def running(spec: JobSpec, blobs: BlobStore) -> AsyncIterator[tuple[Compute, Heard]]:
    heard = Heard()
    async with open_compute_thread(layout_of(spec), blobs.root, 1, "cpu", heard) as compute:
        yield compute, heard


def load(spec: JobSpec, first: int = 0, end: int = 3) -> Load:
    return Load(spec.to_bytes(), RUN, 1, 1, int(first > 0), 2, first, end, 2, chain_around(int(first > 0), 2), None)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def spec(tmp_path: Path, blobs: BlobStore) -> JobSpec:
    return small_spec(tmp_path, blobs)


def frame(spec: JobSpec, index: int) -> Arrived:
    """A frame of the first evaluation, which lies in a slot, all zeros."""
    key = FrameKey(RUN, 1, 0, index, 1, Direction.EVALUATE)
    return Arrived(FrameHeader(FRAME_VERSION, key, 1, 0, "raw", "float32", boundary_shape(spec), bytes(32)), index, 0)


async def next_broken(heard: Heard) -> Broken:
    while not isinstance(message := await heard.next(), Broken):
        pass
    return message


@pytest.mark.slow
async def test_a_stage_that_runs_out_says_so_once_and_can_be_built_anew(
    spec: JobSpec, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CUDA

    async with running(spec, blobs) as (compute, heard):
        compute.send(load(spec, 1, 3))
        assert await heard.next() == Loaded(0)
        with monkeypatch.context() as patched:
            patched.setattr(Stage, "evaluate", fail)
            compute.send(Start())
            compute.send(frame(spec, 0))
            told = await next_broken(heard)
        assert told.code == "out_of_memory"
        assert told.message.startswith("the stage of layers 1 to 2 ran out of memory when 2.50 GiB more")
        assert "were planned for it" in told.message
        compute.send(frame(spec, 1))  # on its way when it happened
        compute.send(Time(spec.to_bytes()))
        while not isinstance(message := await heard.next(), Timed):
            assert not isinstance(message, Broken)
        compute.send(load(spec, 1, 3))
        assert await heard.next() == Loaded(0)


async def test_no_memory_for_what_arrives_is_told_too(
    spec: JobSpec, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CPU

    async with running(spec, blobs) as (compute, heard):
        compute.send(load(spec, 1, 3))
        assert await heard.next() == Loaded(0)
        monkeypatch.setattr(Direct, "room", fail)
        compute.send(frame(spec, 0))
        assert (await next_broken(heard)).code == "out_of_memory"


async def test_a_stage_that_cannot_fit_is_refused_before_it_is_built(
    spec: JobSpec, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda device: 1000)
    async with running(spec, blobs) as (compute, heard):
        compute.send(load(spec))
        told = await next_broken(heard)
    assert told.code == "out_of_memory"
    assert "and 1,000 bytes are free on cpu" in told.message


async def test_a_probe_that_runs_out_says_so(spec: JobSpec, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NUMPY

    monkeypatch.setattr(worker, "time_micro_batch", fail)
    async with running(spec, blobs) as (compute, heard):
        compute.send(Time(spec.to_bytes()))
        told = await next_broken(heard)
    assert told == Broken("out_of_memory", "timing ran out of memory when 2.00 TiB more were asked for")


async def test_an_operation_that_fails_is_told_in_torchs_words(
    spec: JobSpec, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(worker, "time_micro_batch", fail)
    async with running(spec, blobs) as (compute, heard):
        compute.send(Time(spec.to_bytes()))
        assert await next_broken(heard) == Broken("compute", "RuntimeError: shapes cannot be multiplied")


def test_training_alone_ends_with_words_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swarmd.train import loop

    def fail(*_: object, **__: object) -> None:
        raise CPU

    monkeypatch.setattr(loop, "train", fail)
    job = small_job(tmp_path)
    assert commands.main(["local", str(job), "--out", str(tmp_path / "out"), "--json"]) == OutOfMemory.exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["hint"]) == ("out_of_memory", "use smaller micro-batches")
