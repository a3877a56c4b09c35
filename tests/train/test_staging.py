"""How tensors get to and from a device, and leave the process in their order. A CPU goes the same way as a GPU."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swarmd.blobs import BlobStore
from swarmd.compute.layout import layout_of
from swarmd.compute.messages import Load, Loaded, Outgoing, Sent, Start
from swarmd.compute.thread import open_compute_thread
from swarmd.protocols.boundary import frame_bytes
from swarmd.protocols.errors import TimedOut
from swarmd.protocols.spec import WireSpec
from swarmd.protocols.tensors import Direction
from swarmd.scheduler.around import chain_around
from swarmd.train.departures import WAITING, Departures
from swarmd.train.staging import Direct, staging_of
from tests.compute.test_process import RUN, Heard
from tests.train.specs import small_spec

CPU = torch.device("cpu")


class TestOnACpu:
    def test_nothing_is_copied(self):
        x, staging = torch.ones(2, 3), staging_of(CPU)
        assert staging.bring(x).data_ptr() == x.data_ptr() == staging.take(x).arrive().data_ptr()
        assert not staging.overlaps
        staging.computed()

    def test_what_leaves_is_contiguous(self):
        assert staging_of(CPU).take(torch.ones(2, 3).t()).arrive().is_contiguous()

    def test_there_is_room_for_a_frame_of_any_codec(self):
        assert staging_of(CPU).room("raw", (2, 3, 64)).shape == (2, 3, 64)
        assert staging_of(CPU).room("int8", (2, 3, 64)).shape == (2, 3, 66)


class TestDepartures:
    def test_without_a_thread_a_job_is_done_at_once_and_its_error_raised(self):
        box = Departures(lambda error: pytest.fail("raised where it was put"))
        done = []
        box.put(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(TimedOut):
            box.put(self.failing)
        box.close()

    def test_with_one_jobs_are_done_in_their_order_while_the_caller_goes_on(self):
        box, gate, done = Departures(lambda error: None), threading.Event(), queue.SimpleQueue()
        box.thread()
        box.put(lambda: gate.wait(10))
        for number in range(WAITING - 1):
            box.put(lambda number=number: done.put((number, threading.current_thread().name)))
        assert done.empty()
        gate.set()
        assert [done.get(timeout=10) for _ in range(WAITING - 1)] == [(n, "departures") for n in range(WAITING - 1)]
        box.close()

    def test_after_an_error_nothing_leaves_until_it_begins_anew(self):
        errors, done = queue.SimpleQueue(), queue.SimpleQueue()
        box = Departures(errors.put)
        box.thread()
        box.put(self.failing)
        assert isinstance(errors.get(timeout=10), TimedOut)
        box.put(lambda: done.put("dropped"))
        idle = threading.Event()
        while not box._jobs.empty():
            idle.wait(0.001)
        box.thread()
        box.put(lambda: done.put("done"))
        assert done.get(timeout=10) == "done"
        box.close()

    def failing(self):
        raise TimedOut("no slot")


async def sent_by_the_first_stage(spec, blobs):
    """Headers of the frames that a first stage with two credits sends before anything comes back."""
    heard, headers = Heard(), []
    async with open_compute_thread(layout_of(spec), blobs.root, 1, "cpu", heard) as compute:
        compute.send(Load(spec.to_bytes(), RUN, 1, 1, 0, 2, 0, 1, 2, chain_around(0, 2), None))
        assert await heard.next() == Loaded(0)
        compute.send(Start())
        while len(headers) < 4:
            message = await heard.next()
            assert isinstance(message, Outgoing)
            headers.append(message.header)
            compute.send(Sent((message.slot,)))
    return headers


@pytest.mark.slow
@pytest.mark.parametrize("wire", [WireSpec(), WireSpec(forward="int8", backward="int4", boundaries=(1, 2))])
async def test_frames_that_a_thread_sends_are_those_that_are_sent_at_once(tmp_path: Path, monkeypatch, wire):
    blobs = BlobStore(tmp_path / "blobs")
    spec = replace(small_spec(tmp_path, blobs), wire=wire)
    at_once = await sent_by_the_first_stage(spec, blobs)
    monkeypatch.setattr(Direct, "overlaps", True)
    assert await sent_by_the_first_stage(spec, blobs) == at_once
    ways = [header.key.direction for header in at_once]
    assert ways == [Direction.EVALUATE] * 2 + [Direction.FORWARD] * 2


@pytest.mark.slow
async def test_what_is_copied_from_the_device_is_encoded_already(tmp_path: Path, monkeypatch):
    blobs, taken = BlobStore(tmp_path / "blobs"), []
    wire = WireSpec(forward="int4", backward="int4", boundaries=(1, 2))
    spec, take = replace(small_spec(tmp_path, blobs), wire=wire), Direct.take
    monkeypatch.setattr(Direct, "take", lambda self, x: (taken.append(x), take(self, x))[1])
    await sent_by_the_first_stage(spec, blobs)
    assert {(x.dtype, x.nbytes) for x in taken} == {(torch.uint8, frame_bytes(spec, Direction.FORWARD))}


@pytest.mark.slow
async def test_an_error_on_the_way_out_is_told(tmp_path: Path, monkeypatch):
    from swarmd.compute.messages import Broken
    from swarmd.train import sending

    blobs = BlobStore(tmp_path / "blobs")
    spec = small_spec(tmp_path, blobs)
    monkeypatch.setattr(Direct, "overlaps", True)
    monkeypatch.setattr(sending, "SEND_PATIENCE_SECONDS", 0.0)
    heard = Heard()
    async with open_compute_thread(layout_of(spec), blobs.root, 1, "cpu", heard) as compute:
        stages = Load(spec.to_bytes(), RUN, 1, 1, 0, 2, 0, 1, 3, chain_around(0, 2), None)
        compute.send(stages)
        assert await heard.next() == Loaded(0)
        compute.send(Start())
        while not isinstance(message := await heard.next(), Broken):
            assert isinstance(message, Outgoing)
    assert message.code == "timed_out"
