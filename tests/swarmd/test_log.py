"""Logs are lines nobody can forge and files that stay small; whoever follows events holds nobody up."""

from __future__ import annotations

import io
import json
import logging
from contextlib import aclosing

import pytest
import trio
import trio.testing

from swarmd.log import MAX_TEXT, EventLog, configure_log, plain
from swarmd.protocols.errors import StateError


@pytest.fixture(autouse=True)
def _logging_as_before():
    yield
    configure_log("info", stream=None)
    logging.getLogger("swarmd").propagate = True
    logging.getLogger("swarmd").setLevel(logging.NOTSET)


@pytest.fixture
def stream():
    text = io.StringIO()
    configure_log("info", stream=text)
    return text


def test_a_record_is_a_line_with_its_facts(stream):
    logging.getLogger("swarmd.net").warning("peer %s left", "abc", extra={"run": "r1"})
    assert stream.getvalue().endswith(" warning peer abc left run=r1\n")


def test_the_level_holds(stream):
    logging.getLogger("swarmd").debug("detail")
    assert stream.getvalue() == ""


def test_text_from_a_peer_cannot_forge_lines_or_move_the_cursor(stream):
    logging.getLogger("swarmd").info("name: %s", "a\n12:00:00 error fake\x1b[2J", extra={"peer": "x\ny"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_long_text_is_cut():
    assert len(plain("x" * 10**6)) == MAX_TEXT


def test_a_traceback_follows_its_line(stream):
    try:
        raise ValueError("bad\x1b")
    except ValueError:
        logging.getLogger("swarmd").exception("it failed")
    assert "it failed\nTraceback" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_the_file_has_one_json_object_a_line(tmp_path):
    configure_log("info", file=tmp_path / "log", stream=None)
    logging.getLogger("swarmd.x").info("two\nlines", extra={"run": "r1"})
    configure_log("info", stream=None)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert {"level": "info", "logger": "swarmd.x", "text": "two\\nlines", "run": "r1"}.items() <= json.loads(
        line
    ).items()


def test_the_files_stay_within_their_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("swarmd.log.FILE_BYTES", 2000)
    configure_log("info", file=tmp_path / "log", stream=None)
    for _ in range(200):
        logging.getLogger("swarmd").info("x" * 100)
    configure_log("info", stream=None)
    files = list(tmp_path.iterdir())
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) <= 4 * 2000


def test_a_full_disk_costs_lines_only(tmp_path, capsys):
    configure_log("info", file=tmp_path / "log", stream=None)
    (handler,) = logging.getLogger("swarmd").handlers
    handler.stream.close()
    logging.getLogger("swarmd").info("lost")
    handler.stream = None
    configure_log("info", stream=None)
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_is_said(tmp_path):
    with pytest.raises(StateError, match="cannot write the log"):
        configure_log("info", file=tmp_path / "missing" / "log", stream=None)


def _texts(events):
    return [event.text for event in events]


async def test_events_have_time_level_and_run(stream):
    log = EventLog(clock=lambda: 7.0)
    log.info("joined")
    log.warning("slow", run="r1")
    log.error("lost", run="r1")
    assert [(event.time, event.level, event.run) for event in log.recent(9)] == [
        (7.0, "info", ""),
        (7.0, "warning", "r1"),
        (7.0, "error", "r1"),
    ]
    assert _texts(log.recent(9, run="r1")) == ["slow", "lost"]
    assert _texts(log.recent(1)) == ["lost"]
    assert log.recent(0) == ()
    assert "slow run=r1" in stream.getvalue()


async def test_a_full_ring_drops_the_oldest():
    log = EventLog(kept=3)
    for number in range(5):
        log.info(str(number))
    assert _texts(log.recent(9)) == ["2", "3", "4"]


async def _take(events, count):
    return [(await anext(events)).text for _ in range(count)]


async def test_a_follower_sees_the_past_and_what_comes():
    log = EventLog()
    log.info("before")
    async with aclosing(log.subscribe()) as events, trio.open_nursery() as nursery:
        assert await _take(events, 1) == ["before"]
        nursery.start_soon(_say, log, "after")
        assert await _take(events, 1) == ["after"]


async def _say(log, text):
    await trio.testing.wait_all_tasks_blocked()
    log.info(text)


async def test_a_follower_may_begin_at_the_present_or_with_one_run():
    log = EventLog()
    log.info("past", run="r")
    async with aclosing(log.subscribe(past=False, run="r")) as events:
        log.info("other")
        log.info("ours", run="r")
        assert await _take(events, 1) == ["ours"]


async def test_a_slow_follower_misses_the_oldest_and_holds_nobody_up():
    log = EventLog(kept=3)
    async with aclosing(log.subscribe()) as events:
        log.info("first")
        assert await _take(events, 1) == ["first"]
        for number in range(100):
            log.info(str(number))
        assert await _take(events, 3) == ["97", "98", "99"]


async def test_every_follower_sees_everything_once_and_in_order():
    log, seen = EventLog(), {1: [], 2: []}

    async def follow(key):
        async with aclosing(log.subscribe()) as events:
            seen[key] = await _take(events, 20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, 1)
        nursery.start_soon(follow, 2)
        for number in range(20):
            log.info(str(number))
            await trio.lowlevel.checkpoint()
    assert seen[1] == seen[2] == [str(number) for number in range(20)]
