"""A control server in a thread: answers by a table, as the protocol in swarmd.protocols.control says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from swarmd.paths import Paths
from swarmd.protocols.control import RunView, as_json
from swarmd.protocols.errors import SwarmdError
from tests.cli import credit_snapshots, snapshots

Answer = Callable[[dict[str, Any]], dict[str, Any] | Iterable[dict[str, Any]]]


class FakeDaemon:
    """Requests are kept in ``asked``; ``answers`` may be changed while it runs."""

    def __init__(self, paths: Paths) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Answer] = usual_answers()
        paths.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths.control.unlink(missing_ok=True)
        self._place = paths.control
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(paths.control))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._place.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError, ValueError), link, link.makefile("rwb") as file:
                self._answer(json.loads(file.readline()), file)
            if self.asked[-1:] == [("shutdown", {})]:
                self._listener.close()
                self._place.unlink(missing_ok=True)
                return

    def _answer(self, request: dict[str, Any], file: Any) -> None:
        method, params = request["method"], request["params"]
        self.asked.append((method, params))
        try:
            result = self.answers[method](params)
            for each in [result] if isinstance(result, dict) else result:
                file.write(each["raw"] if "raw" in each else json.dumps({"result": each}).encode() + b"\n")
                file.flush()
        except SwarmdError as error:
            fields = {"code": error.code, "message": error.message, "hint": error.hint}
            file.write(json.dumps({"error": fields}).encode() + b"\n")


def usual_answers() -> dict[str, Answer]:
    """A healthy node with one run that is done."""
    run = as_json(snapshots.done())
    return {
        "status": lambda _: as_json(snapshots.node()),
        "peers": lambda _: {"peers": [as_json(snapshots.peer(index)) for index in range(3)]},
        "config": lambda _: {"settings": [{"name": "price", "value": 3, "origin": "config.toml, line 2"}]},
        "submit": lambda _: {"run": snapshots.RUN},
        "resume": lambda _: {"run": snapshots.RUN},
        "jobs": lambda _: {"jobs": [run], "hosted": []},
        "job": lambda _: run,
        "logs": lambda _: [as_json(event) for event in snapshots.events()],
        "watch": lambda _: [as_json(snapshots.snapshot(view)) for view in (snapshots.training(), snapshots.done())],
        "stop": lambda _: {"run": snapshots.RUN},
        "payee": lambda params: as_json(credit_snapshots.payee(params["peer"])),
        "invoice": lambda _: as_json(credit_snapshots.unpaid()),
        "shutdown": lambda _: {"dropped": []},
    }


def watched(*runs: RunView | None) -> list[dict[str, Any]]:
    """What ``watch`` streams while a run goes through these states, two seconds apart."""
    return [as_json(replace(snapshots.snapshot(run), now=snapshots.START + 2 * at)) for at, run in enumerate(runs)]


@contextmanager
def fake_daemon(paths: Paths) -> Iterator[FakeDaemon]:
    """A daemon for the duration of a block."""
    daemon = FakeDaemon(paths)
    try:
        yield daemon
    finally:
        if daemon.asked[-1:] != [("shutdown", {})]:
            daemon.close()
