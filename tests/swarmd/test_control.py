"""The control socket answers one request a connection, and nothing a client does harms the daemon."""

from __future__ import annotations

import json
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from swarmd.control import (
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    REQUEST_SECONDS,
    SEND_SECONDS,
    param,
    serve_control,
)
from swarmd.protocols.control import CONTROL_VERSION, MAX_LINE_BYTES
from swarmd.protocols.errors import NotFound, StateError, UsageError

pytestmark = pytest.mark.net


class Methods:
    """What the tests' daemon can do, and what was seen of it."""

    def __init__(self):
        self.closed = trio.Event()
        self.sent = 0

    async def echo(self, params):
        return {"params": params}

    async def missing(self, params):
        raise NotFound("there is no run zz", hint="swarmd jobs ls")

    async def broken(self, params):
        return {"value": 1 // 0}

    async def grouped(self, params):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.missing, params)
        return {}

    async def impatient(self, params):
        with trio.fail_after(0):
            await trio.sleep_forever()

    async def unspeakable(self, params):
        return {"value": object()}

    async def enormous(self, params):
        return {"value": "x" * MAX_LINE_BYTES}

    async def count(self, params):
        for number in range(param(params, "to", int)):
            yield {"number": number}

    async def breaks(self, params):
        yield {"number": 0}
        raise NotFound("gone", hint="")

    async def endless(self, params):
        try:
            while True:
                yield {"text": "x" * 60_000}
                self.sent += 1
        finally:
            self.closed.set()

    async def quiet(self, params):
        try:
            yield {}
            await trio.sleep_forever()
        finally:
            self.closed.set()

    def table(self):
        names = [name for name in dir(self) if not name.startswith("_")]
        return {name: getattr(self, name) for name in names if name not in ("closed", "sent", "table")}


@asynccontextmanager
async def serving(path, methods=None):
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, (methods or Methods()).table())
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sock"


async def _connect(path):
    return await trio.open_unix_socket(str(path))


async def _rest(stream):
    data = bytearray()
    with trio.fail_after(30):
        async for part in stream:
            data += part
    return [json.loads(line) for line in data.splitlines()]


async def _raw(path, data):
    async with await _connect(path) as stream:
        await stream.send_all(data)
        return await _rest(stream)


def _request(method, **params):
    return json.dumps({"v": CONTROL_VERSION, "method": method, "params": params}).encode() + b"\n"


async def ask(path, method, **params):
    return await _raw(path, _request(method, **params))


async def test_a_request_is_answered_and_the_connection_closed(path):
    async with serving(path):
        assert await ask(path, "echo", a=[1, None]) == [{"result": {"params": {"a": [1, None]}}}]


async def test_a_request_may_come_in_pieces(path):
    async with serving(path), await _connect(path) as stream:
        for byte in _request("echo"):
            await stream.send_all(bytes([byte]))
        assert await _rest(stream) == [{"result": {"params": {}}}]


async def test_a_stream_sends_a_line_for_each_result_then_ends(path):
    async with serving(path):
        assert await ask(path, "count", to=3) == [{"result": {"number": n}} for n in range(3)]


async def test_an_error_of_our_tree_travels_with_code_and_hint(path):
    told = {"code": "not_found", "message": "there is no run zz", "hint": "swarmd jobs ls"}
    async with serving(path):
        assert await ask(path, "missing") == [{"error": told}]
        assert await ask(path, "grouped") == [{"error": told}]


async def test_a_stream_that_fails_says_so_in_its_last_line(path):
    async with serving(path):
        first, last = await ask(path, "breaks")
        assert first == {"result": {"number": 0}}
        assert last["error"]["code"] == "not_found"


@pytest.mark.parametrize("method", ["broken", "impatient", "unspeakable", "enormous"])
async def test_a_fault_in_a_method_is_answered_logged_and_survived(path, method, caplog):
    async with serving(path):
        (reply,) = await ask(path, method)
        assert reply["error"]["code"] == "internal"
        assert await ask(path, "echo") == [{"result": {"params": {}}}]
    assert "a control request failed" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\xff\xfe\n",
        b"{\n",
        b"[]\n",
        b'"status"\n',
        b"[" * 60_000 + b"\n",
        b'{"v": 1, "method": "echo"}\n',
        b'{"v": 1, "method": 7, "params": {}}\n',
        b'{"v": 1, "method": "echo", "params": []}\n',
        b'{"v": "1", "method": "echo", "params": {}}\n',
    ],
)
async def test_a_malformed_request_is_answered_as_a_usage_error(path, line):
    async with serving(path):
        (reply,) = await _raw(path, line)
        assert reply["error"]["code"] == "usage"


async def test_another_version_is_told_to_restart_the_daemon(path):
    async with serving(path):
        (reply,) = await _raw(path, b'{"v": 2, "method": "echo", "params": {}}\n')
    assert "version 1" in reply["error"]["message"]
    assert "restart" in reply["error"]["hint"]


async def test_an_unknown_method_gets_the_closest_one(path):
    async with serving(path):
        (reply,) = await ask(path, "ecko")
    assert reply["error"] == {
        "code": "usage",
        "message": "there is no method 'ecko'",
        "hint": "did you mean 'echo'?",
    }


async def test_a_request_over_the_limit_is_refused_before_it_is_whole(path):
    async with serving(path), await _connect(path) as stream:
        await stream.send_all(b"x" * (MAX_REQUEST_BYTES + 1))
        (reply,) = await _rest(stream)
        assert "over" in reply["error"]["message"]


async def test_a_request_that_never_ends_runs_out_of_time(path, autojump_clock):
    async with serving(path), await _connect(path) as stream:
        await stream.send_all(b'{"v": 1')
        (reply,) = await _rest(stream)
        assert reply["error"]["code"] == "timed_out"
        assert trio.current_time() == pytest.approx(REQUEST_SECONDS)


async def test_a_client_that_only_looks_whether_anybody_is_there_is_no_error(path, caplog):
    async with serving(path):
        async with await _connect(path):
            pass
        assert await ask(path, "echo") != []
    assert caplog.text == ""


async def test_a_client_that_hangs_up_ends_its_stream(path):
    methods = Methods()
    async with serving(path, methods):
        async with await _connect(path) as stream:
            await stream.send_all(_request("quiet"))
            assert await stream.receive_some(100) == b'{"result": {}}\n'
        with trio.fail_after(30):
            await methods.closed.wait()


async def test_a_reader_who_does_not_keep_up_is_hung_up_on_and_holds_nobody_up(path, autojump_clock):
    methods = Methods()
    async with serving(path, methods), await _connect(path) as slow:
        await slow.send_all(_request("endless"))
        await trio.testing.wait_all_tasks_blocked()
        assert await ask(path, "echo") == [{"result": {"params": {}}}]
        await methods.closed.wait()
        assert trio.current_time() == pytest.approx(SEND_SECONDS)
        assert methods.sent < 100


async def test_one_client_too_many_is_refused_until_another_leaves(path):
    async with serving(path), AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(await _connect(path)) for _ in range(MAX_CONNECTIONS)]
        for stream in streams:
            await stream.send_all(_request("quiet"))
            await stream.receive_some(100)
        (reply,) = await ask(path, "echo")
        assert reply["error"]["code"] == "refused"
        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await ask(path, "echo") == [{"result": {"params": {}}}]


async def test_the_socket_is_ours_alone_and_goes_with_the_daemon(path):
    before = os.umask(0)
    try:
        async with serving(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    assert not path.exists()


async def test_nobody_can_connect_before_the_socket_has_its_mode(path, monkeypatch):
    modes, chmod = [], os.chmod

    def spy(place, mode):
        with socket.socket(socket.AF_UNIX) as probe:
            modes.append(probe.connect_ex(str(place)))
        chmod(place, mode)

    monkeypatch.setattr(os, "chmod", spy)
    async with serving(path):
        pass
    assert modes != []
    assert 0 not in modes


async def test_whoever_finds_the_socket_is_answered(path, monkeypatch):
    answers, rename = [], os.rename

    def spy(unnamed, name):
        with socket.socket(socket.AF_UNIX) as probe:
            answers.append((os.path.exists(path), probe.connect_ex(str(unnamed))))
        rename(unnamed, name)

    monkeypatch.setattr(os, "rename", spy)
    async with serving(path):
        assert answers == [(False, 0)]


async def test_the_socket_of_a_dead_daemon_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path):
        assert await ask(path, "echo") != []


async def _start_in_vain(path):
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(path):
            pass
    (error,) = caught.value.exceptions
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, StateError)
    return error


async def test_a_second_daemon_is_refused_and_the_first_unharmed(path):
    async with serving(path):
        error = await _start_in_vain(path)
        assert "another daemon answers" in error.message
        assert "swarmd down" in error.hint
        assert await ask(path, "echo") != []


async def test_what_is_no_socket_is_never_removed(path):
    path.write_text("precious")
    assert "not a socket" in (await _start_in_vain(path)).message
    assert path.read_text() == "precious"


async def test_a_link_is_not_followed(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    assert "not a socket" in (await _start_in_vain(path)).message


async def test_a_folder_others_can_enter_is_refused(path):
    path.parent.chmod(0o755)
    assert "open to other users" in (await _start_in_vain(path)).message


async def test_a_path_too_long_for_a_socket_is_said(tmp_path):
    error = await _start_in_vain(tmp_path / ("x" * 120))
    assert "cannot make the control socket" in error.message


async def test_a_daemon_leaves_another_s_socket_alone(path):
    async with serving(path):
        path.unlink()
        path.write_text("new owner")
    assert path.read_text() == "new owner"


def test_parameters_have_exactly_their_type():
    assert param({"run": "x"}, "run", str) == "x"
    assert param({}, "follow", bool, False) is False
    assert param({"every": None}, "every", float, 1.0) == 1.0
    for wrong in ({}, {"run": None}, {"run": 7}, {"run": True}):
        with pytest.raises(UsageError, match="'run' must be a str"):
            param(wrong, "run", str)
    with pytest.raises(UsageError, match="must be a int"):
        param({"n": True}, "n", int)
