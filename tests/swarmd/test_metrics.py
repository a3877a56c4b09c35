"""The metrics are text for Prometheus, served only to requests that are in time and in form."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from swarmd.metrics import LOOK_SECONDS, SAMPLES, Lateness, loop_lateness, make_metrics
from swarmd.metrics_http import DEADLINE_SECONDS, MAX_CONNECTIONS, MAX_HEADER_BYTES, serve_metrics
from swarmd.protocols.errors import StateError


def _metrics():
    return make_metrics(lambda: {"peers": 3}, lambda: {"adverts_forged": 1, "links_violated": 2})


def test_what_is_counted_is_in_the_text():
    text = _metrics().text().decode()
    assert "swarmd_peers 3.0" in text
    assert 'swarmd_events_total{name="adverts_forged"} 1.0' in text
    assert 'swarmd_events_total{name="links_violated"} 2.0' in text
    assert "process_resident_memory_bytes" in text


def test_two_nodes_in_one_process_do_not_mix():
    one, two = _metrics(), make_metrics(lambda: {"peers": 0}, dict)
    assert b"swarmd_peers 3.0" in one.text()
    assert b"swarmd_peers 0.0" in two.text()


def test_the_newest_looks_99th_percentile_is_told():
    metrics = _metrics()
    metrics.lateness.samples.extend([0.001] * 98 + [0.25] * 2)
    assert "swarmd_loop_lateness_p99_seconds 0.25" in metrics.text().decode()


def test_quantiles_of_lateness():
    late = Lateness()
    assert late.quantile(0.99) == 0.0
    late.samples.extend(n / 100 for n in range(100))
    assert (late.quantile(0.0), late.quantile(0.5), late.quantile(1.0)) == (0.0, 0.5, 0.99)
    late.samples.extend([0.0] * 2 * SAMPLES)
    assert len(late.samples) == SAMPLES


async def _canary(seconds, clock=None, held=0.0):
    metrics = _metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop_lateness, metrics)
        await trio.sleep(seconds - LOOK_SECONDS)
        if clock:
            clock.jump(LOOK_SECONDS / 2 + held)
        await trio.sleep(LOOK_SECONDS)
        nursery.cancel_scope.cancel()
    return list(metrics.lateness.samples)


async def test_the_canary_looks_often(autojump_clock):
    assert len(await _canary(10)) == pytest.approx(10 / LOOK_SECONDS, abs=1)


async def test_the_canary_sees_a_loop_that_was_held_up(autojump_clock):
    assert max(await _canary(1.0)) == pytest.approx(0.0, abs=1e-6)
    assert max(await _canary(1.05, autojump_clock, held=0.4)) == pytest.approx(0.4, abs=1e-6)


@asynccontextmanager
async def serving(text=lambda: b"swarmd_peers 1.0\n"):
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_metrics, "127.0.0.1", 0, text)
        yield port
        nursery.cancel_scope.cancel()


async def _ask(port, data):
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        return await _rest(stream)


async def _rest(stream):
    reply = bytearray()
    with trio.fail_after(30):
        async for part in stream:
            reply += part
    return bytes(reply)


def _get(target, method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.net
async def test_the_page_is_served_and_the_connection_closed():
    async with serving() as port:
        head, body = (await _ask(port, _get("/metrics?x=1"))).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"text/plain; version=0.0.4" in head
    assert body == b"swarmd_peers 1.0\n"


@pytest.mark.net
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (_get("/"), b"404"),
        (_get("/metrics/../key.pem"), b"404"),
        (_get("/metrics", "DELETE"), b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00" * 9 + b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 2 * MAX_HEADER_BYTES, b"431"),
    ],
)
async def test_anything_else_is_refused(request_, status):
    async with serving() as port:
        assert (await _ask(port, request_)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.net
async def test_head_gives_the_headers_only():
    async with serving() as port:
        reply = await _ask(port, _get("/metrics", "HEAD"))
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.endswith(b"content-length: 17\r\nconnection: close\r\n\r\n")


@pytest.mark.net
async def test_a_client_that_sends_nothing_is_hung_up_on(autojump_clock):
    async with serving() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        assert await _rest(stream) == b""
        assert trio.current_time() == pytest.approx(DEADLINE_SECONDS, abs=0.1)


@pytest.mark.net
async def test_a_client_too_many_is_closed_unanswered_and_the_rest_served():
    async with serving() as port, AsyncExitStack() as stack:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        for stream in streams:
            await stack.enter_async_context(stream)
        async with await trio.open_tcp_stream("127.0.0.1", port) as one_more:
            assert await _rest(one_more) == b""
        for stream in streams:
            await stream.send_all(_get("/metrics"))
            assert b" 200 " in await _rest(stream)


@pytest.mark.net
async def test_a_client_that_leaves_early_and_a_fault_in_the_text_are_survived(caplog):
    faults = iter((ZeroDivisionError,))

    def text():
        for fault in faults:
            raise fault
        return b"fine\n"

    async with serving(text) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port):
            pass
        assert await _ask(port, _get("/metrics")) == b""
        assert (await _ask(port, _get("/metrics"))).endswith(b"fine\n")
    assert "a request for metrics failed" in caplog.text


@pytest.mark.net
async def test_a_port_that_is_taken_is_said():
    async with serving() as port:
        with pytest.raises(StateError, match="cannot serve metrics") as caught:
            await serve_metrics("127.0.0.1", port, lambda: b"")
    assert "--metrics" in caught.value.hint
