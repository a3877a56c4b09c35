"""The lines that change a running lab."""

from __future__ import annotations

from benchmarks.netlab.hosts import LabError, changed
from benchmarks.netlab.queueing import Queues


def obey(queues: Queues, line: str) -> None:
    """Do what a line says; an empty one says nothing. Raises LabError."""
    try:
        match line.split("#")[0].split():
            case []:
                return
            case ["heal"]:
                queues.heal()
            case ["cut", first]:
                queues.cut(_known(queues, first))
            case ["cut", first, second]:
                queues.cut(_known(queues, first), _known(queues, second))
            case ["set", number, *settings]:
                host = _known(queues, number)
                queues.set(host, changed(queues.host(host), settings))
            case _:
                raise ValueError("a line is set, cut or heal")
    except (ValueError, IndexError) as error:
        raise LabError(f"not understood: {line.strip()!r}: {error}") from error


def _known(queues: Queues, word: str) -> int:
    number = int(word)
    if number < 0:
        raise IndexError("no such host")
    queues.host(number)
    return number
