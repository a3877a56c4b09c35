"""What the daemon answers about runs it remembers: found by a prefix, watched, and with their events."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio

from swarmd.config import NAMES
from swarmd.control import Method
from swarmd.methods import MAX_WATCH_SECONDS, MIN_WATCH_SECONDS, Methods, _every
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.control import EventView
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.runs.journal import save_record
from tests.runs.nodes import Swarm, TestNode, open_swarm
from tests.runs.values import record_of

Answer = dict[str, Any]


def methods_of(node: TestNode, shut_down: Any = lambda: None) -> dict[str, Method]:
    book = AdvertBook(node.deps.network.id, node.peer)
    origins = dict.fromkeys(NAMES, "default")
    return Methods(node.deps, node.runs, book, origins, lambda: {"seen": 3}, shut_down).table()


async def with_a_run(swarm: Swarm) -> tuple[TestNode, dict[str, Method], str]:
    """A node that was started again and remembers one run, which has failed."""
    before = await swarm.add(state="same")
    record = record_of(before.deps)
    record.remembered = ("failed", "peer_lost", "stage 1 was lost")
    await save_record(record, before.deps)
    for number in range(3):
        event = EventView(time=float(number), level="info", run=record.run, text=f"event {number}")
        await before.deps.storage.append_event(event)
    node = await swarm.add(state="same")
    return node, methods_of(node), record.run


async def take(stream: Any, count: int) -> list[Answer]:
    """The first answers of a stream, or all if it ends before."""
    got: list[Answer] = []
    async with aclosing(stream) as answers:
        async for answer in answers:
            got.append(answer)
            if len(got) == count:
                break
    return got


@pytest.mark.net
async def test_a_run_is_listed_found_and_cannot_be_stopped_twice(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        _, table, run = await with_a_run(swarm)
        assert [job["run"] for job in (await table["jobs"]({}))["jobs"]] == [run]
        view = await table["job"]({"run": run[:6]})
        assert (view["run"], view["state"], view["code"]) == (run, "failed", "peer_lost")
        with pytest.raises(UsageError, match="nothing to stop"):
            await table["stop"]({"run": run})
        for nothing in ("", "zz"):
            with pytest.raises(NotFound):
                await table["job"]({"run": nothing})
        with pytest.raises(UsageError, match="'run' must be a str"):
            await table["job"]({"run": 7})


@pytest.mark.net
async def test_a_watch_of_a_run_that_is_over_is_one_snapshot(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        node, table, run = await with_a_run(swarm)
        [only] = await take(table["watch"]({"run": run}), 9)
        assert only["run"]["reason"] == "stage 1 was lost"
        assert only["node"]["peer"] == node.peer
        newest, again = await take(table["watch"]({"every": 0.0001}), 2)
        assert newest["run"]["run"] == again["run"]["run"] == run


@pytest.mark.net
async def test_logs_are_those_of_the_run_and_may_be_followed(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        node, table, run = await with_a_run(swarm)
        texts = [f"event {number}" for number in range(3)]
        assert [event["text"] for event in await take(table["logs"]({"run": run}), 9)] == texts
        async with aclosing(table["logs"]({"run": run, "follow": True})) as stream:
            assert (await anext(stream))["text"] == texts[0]
            node.deps.events.info("of another run", run="another")
            node.deps.events.info("while the past is read", run=run)
            assert [(await anext(stream))["text"] for _ in range(3)] == [*texts[1:], "while the past is read"]
            node.deps.events.info("and then", run=run)
            assert (await anext(stream))["text"] == "and then"


@pytest.mark.net
async def test_an_event_that_is_on_disk_when_it_is_followed_comes_once(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        node, table, run = await with_a_run(swarm)
        async with aclosing(table["logs"]({"run": run, "follow": True})) as stream:
            await anext(stream)
            node.deps.events.info("stored and told", run=run)
            await node.deps.storage.append_event(node.deps.events.recent(1)[0])
            node.deps.events.info("the end", run=run)
            later = [(await anext(stream))["text"] for _ in range(4)]
            assert later == ["event 1", "event 2", "stored and told", "the end"]


@pytest.mark.net
async def test_a_node_describes_itself_and_ends_once_it_has_answered(tmp_path: Path) -> None:
    ended = trio.Event()
    async with open_swarm(tmp_path) as swarm:
        node = await swarm.add()
        table = methods_of(node, ended.set)
        status = await table["status"]({})
        assert (status["peer"], status["peers"], status["runs"], status["hosting"]) == (node.peer, 0, 0, ())
        assert status["counters"] == {"seen": 3}
        assert status["idle_reason"].startswith("no other node is known")
        assert await table["peers"]({}) == {"peers": []}
        settings = {each["name"]: each["value"] for each in (await table["config"]({}))["settings"]}
        assert settings["accept"] == "network"
        assert await table["shutdown"]({}) == {"dropped": []}
        with trio.fail_after(30):
            await ended.wait()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 0.5),
        ({"every": None}, 0.5),
        ({"every": 2}, 2),
        ({"every": 0.001}, MIN_WATCH_SECONDS),
        ({"every": -3}, MIN_WATCH_SECONDS),
        ({"every": 10**400}, MAX_WATCH_SECONDS),
    ],
)
def test_a_watch_is_neither_too_busy_nor_asleep(given: Answer, seconds: float) -> None:
    assert _every(given) == seconds


@pytest.mark.parametrize("every", ["often", [1], float("nan")])
def test_a_watch_at_no_time_is_refused(every: object) -> None:
    with pytest.raises(UsageError, match="must be a number of seconds"):
        _every({"every": every})
