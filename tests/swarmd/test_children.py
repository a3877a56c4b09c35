"""Child processes: their last line is their result, and they end with whoever waits and with the daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import trio

from swarmd import child, children
from swarmd.children import run_child
from swarmd.protocols.errors import NotFound, StateError, UsageError


def test_the_last_line_is_the_result() -> None:
    assert children._result("probe", b'a warning\n{"name": "x"}\n\n', 0) == {"name": "x"}


@pytest.mark.parametrize("output", [b"", b"\n", b"Traceback", b"[1]", b'{"a": 1}\nbye', b"\xff\xfe"])
def test_no_result_is_an_error_with_the_exit_code(output: bytes) -> None:
    with pytest.raises(StateError, match="'probe' ended with exit code -9, without a result"):
        children._result("probe", output, -9)


def test_an_error_keeps_its_kind_its_words_and_its_hint() -> None:
    with pytest.raises(NotFound, match="no text there") as failure:
        children._result("prepare", b'{"error": {"code": "not_found", "message": "no text there", "hint": "look"}}', 6)
    assert failure.value.hint == "look"
    with pytest.raises(StateError):
        children._result("prepare", b'{"error": {"code": "state", "message": ""}}', 1)


def small(tmp_path: Path) -> list[str]:
    (tmp_path / "job.toml").write_text("steps = 0\n")
    return ["prepare", str(tmp_path / "job.toml"), "--blobs", str(tmp_path / "blobs")]


@pytest.mark.slow
async def test_a_real_child_tells_what_is_wrong_with_a_job_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="steps = 0: must be from 1"):
        await run_child(*small(tmp_path))


@pytest.mark.slow
async def test_a_child_may_not_talk_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_OUTPUT", 5)
    with pytest.raises(StateError, match="says more than it should"):
        await run_child(*small(tmp_path))
    assert psutil.Process().children() == []


@pytest.mark.slow
async def test_a_child_ends_with_the_task_that_waits_for_it() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_child, "probe", "--device", "cpu", "--threads", "1")
        with trio.fail_after(20):
            while not psutil.Process().children():  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert psutil.Process().children() == []


@pytest.mark.slow
def test_a_child_ends_when_the_daemon_is_gone() -> None:
    command = [sys.executable, "-P", "-m", "swarmd.child", "probe", "--device", "cpu", "--threads", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(20) == 1


def test_a_child_s_exit_code_is_its_module_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_end_with_the_daemon", lambda: None)
    assert child.main(small(tmp_path)) == 2
