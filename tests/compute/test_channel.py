"""The channel between daemon and compute process: whole messages, a clear end, nothing else."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from swarmd.compute.channel import MAX_MESSAGE, Channel
from swarmd.compute.messages import FROM_WORKER, TO_WORKER, Broken, Done, Sent, Start, Stepped, Taken, Time, Work
from swarmd.compute.process import GONE, Compute, read_until_gone
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from tests.compute.frames import slots


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """The daemon's end, and the raw other end of its socket."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, TO_WORKER, FROM_WORKER)
    yield channel, theirs
    channel.close()
    theirs.close()


def raw(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


def test_messages_come_whole_and_in_order(pair: tuple[Channel, socket.socket]) -> None:
    daemon, theirs = pair
    worker = Channel(theirs, FROM_WORKER, TO_WORKER)
    said = [Time(b"spec"), Start(), Sent((3, 4))]
    for message in said:
        daemon.send(message)
    assert [worker.receive() for _ in said] == said
    answers = [Stepped(1, "2.5", ("0.5",), Work(1, 2, 3, 4, 5, 6)), Broken("compute", "out of memory"), Done(7)]
    for message in answers:
        worker.send(message)
    assert [daemon.receive() for _ in answers] == answers


def test_threads_do_not_cut_each_other_s_messages(pair: tuple[Channel, socket.socket]) -> None:
    daemon, theirs = pair
    worker = Channel(theirs, FROM_WORKER, TO_WORKER)
    body = bytes(range(256)) * 300
    senders = [threading.Thread(target=lambda: [daemon.send(Time(body)) for _ in range(20)]) for _ in range(3)]
    for sender in senders:
        sender.start()
    assert all(worker.receive() == Time(body) for _ in range(60))
    for sender in senders:
        sender.join()


@pytest.mark.parametrize("sent", [b"", raw(b"whole")[:2], raw(b"whole")[:-1]])
def test_an_end_is_none_wherever_it_comes(pair: tuple[Channel, socket.socket], sent: bytes) -> None:
    daemon, theirs = pair
    theirs.sendall(sent)
    theirs.close()
    assert daemon.receive() is None


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (struct.pack("!I", MAX_MESSAGE + 1), "4194305 bytes"),
        (raw(b"\xc1"), "not a canonical message"),
        (raw(encode(("Start", ()))), "no message of this protocol"),
        (raw(encode(("Taken", ("1",)))), "another type"),
    ],
)
def test_nonsense_is_a_violation(pair: tuple[Channel, socket.socket], sent: bytes, why: str) -> None:
    daemon, theirs = pair
    theirs.sendall(sent)
    with pytest.raises(ProtocolViolation, match=why):
        daemon.receive()


def test_closing_wakes_who_waits_and_may_come_twice(pair: tuple[Channel, socket.socket]) -> None:
    daemon, _ = pair
    got: list[object] = ["nothing yet"]
    waiting = threading.Thread(target=lambda: got.append(daemon.receive()))
    waiting.start()
    daemon.close()
    waiting.join(5)
    assert got == ["nothing yet", None]
    daemon.close()


def test_a_reader_hands_on_every_message_and_the_end_once(pair: tuple[Channel, socket.socket]) -> None:
    daemon, theirs = pair
    theirs.sendall(raw(encode(("Taken", ((1,),)))) + raw(encode(("Taken", ((2,),)))))
    theirs.close()
    heard: list[object] = []
    read_until_gone(daemon, heard.append)
    assert heard == [Taken((1,)), Taken((2,)), GONE]


def test_a_child_that_talks_nonsense_is_as_good_as_gone(pair: tuple[Channel, socket.socket]) -> None:
    daemon, theirs = pair
    theirs.sendall(raw(encode(("Taken", ((1,),)))) + raw(b"\xc1") + raw(encode(("Taken", ((2,),)))))
    heard: list[object] = []
    read_until_gone(daemon, heard.append)
    assert heard == [Taken((1,)), GONE]


def test_telling_a_child_that_has_ended_raises_nothing(pair: tuple[Channel, socket.socket]) -> None:
    daemon, theirs = pair
    theirs.close()
    with slots(1, 4) as memory:
        compute = Compute(1, daemon, memory)
        for _ in range(3):
            compute.send(Start())
