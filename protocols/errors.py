"""Every error swarmd raises on purpose, as one tree.

    SwarmdError                 has a message, a hint (what to type or change next) and an exit code
    ├── LocalError              our side is at fault, or our user asked for something impossible
    │   ├── UsageError          a flag, file or setting is wrong                         exit 2
    │   │   └── JobFileError    a job file is wrong; carries every problem found         exit 2
    │   ├── StateError          key, lock, disk or database is not as it must be         exit 1
    │   ├── NotFound            no such run, peer, blob or file                          exit 6
    │   └── DaemonUnreachable   no daemon answers on the control socket                  exit 3
    ├── RemoteError             the peer is at fault
    │   ├── ProtocolViolation   bytes or a message that no honest peer sends             exit 1
    │   ├── Refused             the peer (or our own admission) says no, with a reason   exit 5
    │   │   └── NotYet          no for now: what is missing may still come               exit 5
    │   └── PeerLost            the peer went away, reset the stream, or fell silent     exit 4
    ├── RunFailed               a run ended before its last step                         exit 4
    │   └── OutOfMemory         a stage needs more memory than its device has            exit 4
    └── TimedOut                a bounded wait ran out                                   exit 7

Catch a class only where you can act on it. A broad ``except`` stands only at the edge of a nursery
that serves one peer, so that no peer can end the daemon.
"""

from __future__ import annotations

from typing import ClassVar


class SwarmdError(Exception):
    """A failure with words for the person who meets it."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class LocalError(SwarmdError):
    """We, or our user, did something that cannot work."""


class UsageError(LocalError):
    """A flag, file or setting is wrong."""

    exit_code = 2
    code = "usage"


class JobFileError(UsageError):
    """A job file does not describe a job. ``problems`` holds one line per mistake."""

    code = "job_file"

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems), hint=f"correct {path} and try again")
        self.problems = problems


class StateError(LocalError):
    """The key, lock, disk or database is not as it must be."""

    code = "state"


class NotFound(LocalError):
    """There is no such run, peer, blob or file."""

    exit_code = 6
    code = "not_found"


class DaemonUnreachable(LocalError):
    """No daemon answers on the control socket."""

    exit_code = 3
    code = "unreachable"


class RemoteError(SwarmdError):
    """A peer did something wrong, or went away."""


class ProtocolViolation(RemoteError):
    """Bytes or a message that no honest peer sends."""

    code = "violation"


class Refused(RemoteError):
    """A peer, or our own admission rule, says no."""

    exit_code = 5
    code = "refused"


class NotYet(Refused):
    """No for now: what is missing may still come, and then the same question gets another answer."""

    code = "not_yet"


class PeerLost(RemoteError):
    """The peer closed, reset or fell silent."""

    exit_code = 4
    code = "peer_lost"


class RunFailed(SwarmdError):
    """A run ended before its last step."""

    exit_code = 4
    code = "run_failed"


class OutOfMemory(RunFailed):
    """A stage needs more memory than its device has."""

    code = "out_of_memory"


class TimedOut(SwarmdError):
    """A bounded wait ran out."""

    exit_code = 7
    code = "timed_out"


def by_code(code: str, message: str, hint: str = "") -> SwarmdError:
    """The error a control reply or a peer's answer names; unknown codes become plain failures."""
    for kind in _every_subclass(SwarmdError):
        if kind.code == code and kind is not JobFileError:
            return kind(message, hint=hint)
    return UsageError(message, hint=hint) if code == JobFileError.code else SwarmdError(message, hint=hint)


def _every_subclass(kind: type[SwarmdError]) -> list[type[SwarmdError]]:
    below = [deeper for child in kind.__subclasses__() for deeper in _every_subclass(child)]
    return [kind, *below]
