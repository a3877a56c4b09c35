"""The error tree: every code leads back to its class."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import (
    JobFileError,
    NotFound,
    PeerLost,
    ProtocolViolation,
    Refused,
    SwarmdError,
    TimedOut,
    UsageError,
    by_code,
)


@pytest.mark.parametrize("kind", [UsageError, NotFound, ProtocolViolation, Refused, PeerLost, TimedOut])
def test_an_error_is_found_again_by_its_code(kind):
    error = by_code(kind.code, "what happened", "what to do")
    assert type(error) is kind
    assert (error.message, error.hint, str(error)) == ("what happened", "what to do", "what happened")


def test_an_unknown_code_is_a_plain_failure():
    assert type(by_code("of a later version", "x")) is SwarmdError


def test_a_wrong_job_file_lists_every_problem_and_travels_as_a_usage_error():
    error = JobFileError("job.toml", ("steps: missing", "name: empty"))
    assert error.problems == ("steps: missing", "name: empty")
    assert error.message == "steps: missing\nname: empty"
    assert "job.toml" in error.hint
    assert type(by_code(error.code, error.message)) is UsageError
    assert error.exit_code == by_code(error.code, "").exit_code == 2
