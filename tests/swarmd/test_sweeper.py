"""A file that must not be left behind goes with the block, and with the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from swarmd.sweeper import swept
from tests.e2e.daemons import until

NEVER_ENDING = """
import sys, trio
from pathlib import Path
from swarmd.sweeper import swept
async def main():
    async with swept(Path(sys.argv[1])):
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_the_file_goes_with_the_block_whatever_its_name(tmp_path: Path) -> None:
    socket = tmp_path / "control.sock; touch x"
    async with swept(socket):
        socket.touch()
    assert os.listdir(tmp_path) == []


async def test_a_file_that_never_came_is_no_error(tmp_path: Path) -> None:
    async with swept(tmp_path / "none"):
        pass
    assert psutil.Process().children() == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_file_goes_with_the_process_whatever_ends_it(tmp_path: Path, how: signal.Signals) -> None:
    socket = tmp_path / "control.sock"
    socket.touch()
    command = [sys.executable, "-P", "-c", NEVER_ENDING, str(socket)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert socket.exists()
        os.kill(process.pid, how)
        process.wait(20)
    until(lambda: not socket.exists(), 5)
