"""The control socket's client against a daemon that misbehaves, hangs or is not there."""

from __future__ import annotations

import os
import socket

import pytest

from swarmd.cli import client
from swarmd.cli.client import Channel, call, stream
from swarmd.paths import Paths
from swarmd.protocols.errors import DaemonUnreachable, NotFound, ProtocolViolation, StateError, TimedOut
from tests.cli.fake_daemon import FakeDaemon

pytestmark = pytest.mark.net


def answers(daemon: FakeDaemon, raw: bytes) -> None:
    daemon.answers["status"] = lambda _: {"raw": raw}


def test_a_call_sends_its_parameters_and_gives_the_result(daemon: FakeDaemon, paths: Paths) -> None:
    assert call(paths, "stop", run="ab")["run"]
    assert daemon.asked == [("stop", {"run": "ab"})]


def test_a_stream_gives_results_until_the_daemon_closes(daemon: FakeDaemon, paths: Paths) -> None:
    daemon.answers["logs"] = lambda _: [{"n": n, "text": "x" * 50_000} for n in range(5)]
    assert [each["n"] for each in stream(paths, "logs", run="a", follow=False)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"not json\n", "not JSON"),
        (b"[]\n", "not an object"),
        (b'{"result": 3}\n', "neither a result nor an error"),
        (b"", "closed the connection without an answer"),
        (b'{"result": {}}', "closed the connection without an answer"),
    ],
)
def test_a_broken_answer_is_an_error(daemon: FakeDaemon, paths: Paths, raw: bytes, message: str) -> None:
    answers(daemon, raw)
    with pytest.raises((ProtocolViolation, DaemonUnreachable), match=message):
        call(paths, "status")


def test_a_line_without_an_end_is_refused(daemon: FakeDaemon, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_LINE_BYTES", 1000)
    answers(daemon, b"x" * 5000)
    with pytest.raises(ProtocolViolation, match="over 1000 bytes"):
        call(paths, "status")


def test_an_error_reply_becomes_the_error_it_names(daemon: FakeDaemon, paths: Paths) -> None:
    answers(daemon, b'{"error": {"code": "not_found", "message": "m", "hint": null}}\n')
    with pytest.raises(NotFound) as caught:
        call(paths, "status")
    assert (caught.value.message, caught.value.hint) == ("m", "")


def test_a_silent_daemon_times_out(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.control))
        listener.listen()
        with pytest.raises(TimedOut):
            call(paths, "status", wait=0.01)


def test_a_socket_that_nobody_serves(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.control))
    with pytest.raises(DaemonUnreachable, match="is gone"):
        call(paths, "status")


def test_no_state_folder_at_all(paths: Paths) -> None:
    with pytest.raises(DaemonUnreachable, match="no daemon is running"):
        call(Paths(paths.state_dir / "none"), "status")


def test_a_socket_that_is_no_socket(paths: Paths) -> None:
    paths.control.mkdir()
    with pytest.raises(DaemonUnreachable):
        call(paths, "status")


def test_a_forbidden_socket(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr("socket.socket.connect", connect)
    with pytest.raises(DaemonUnreachable, match="another user"):
        call(paths, "status")


def test_a_socket_in_a_folder_open_to_others_is_not_trusted(daemon: FakeDaemon, paths: Paths) -> None:
    os.chmod(paths.state_dir, 0o755)
    with pytest.raises(StateError, match="open to other users"):
        call(paths, "status")


def test_a_daemon_that_hangs_up_before_the_question(
    daemon: FakeDaemon, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sendall(*_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("socket.socket.sendall", sendall)
    with pytest.raises(DaemonUnreachable, match="hung up"):
        call(paths, "status")


def test_a_reset_connection_is_an_end(daemon: FakeDaemon, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def recv(*_: object) -> bytes:
        raise ConnectionResetError(104, "reset")

    with Channel(paths, "status", {}) as channel:
        monkeypatch.setattr("socket.socket.recv", recv)
        assert channel.receive(1.0) == []
        assert channel.ended
