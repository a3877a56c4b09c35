"""Daemons as a user runs them: processes that find each other, train, are killed, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from swarmd.cli.client import call
from swarmd.protocols.errors import DaemonUnreachable
from tests.e2e.daemons import command, daemons, until
from tests.train.specs import small_job

pytestmark = [pytest.mark.slow, pytest.mark.net, pytest.mark.heavy]


def known(daemon) -> set[str]:
    return {peer["peer"] for peer in daemon.ask("peers")["peers"]}


def ready(daemon) -> set[str]:
    """Peers whose device is probed, once ours is too."""
    if daemon.ask("status")["device"] is None:
        return set()
    return {peer["peer"] for peer in daemon.ask("peers")["peers"] if peer["device"]["flops"] > 0}


def training(daemon, run: str):
    view = daemon.ask("job", run=run)
    assert view["state"] not in ("failed", "stopped"), view["reason"]
    return view if view["state"] == "training" and view["step"] >= 2 else None


def done(daemon, run: str):
    view = daemon.ask("job", run=run)
    assert view["state"] not in ("failed", "stopped"), view["reason"]
    return view if view["state"] == "done" else None


def big_job(folder: Path, stages: int) -> str:
    job = small_job(folder, steps=100_000)
    job.write_text(job.read_text() + f"[run]\nmin_stages = {stages}\nrestarts = 0\n")
    return str(job)


def two_that_train(start, folder: Path):
    """The submitter, the other holder of a stage, and the run that will not end by itself."""
    first = start("one", "--accept", "network")
    second = start("two", "--accept", "network", "--bootstrap", first.addresses[0])
    until(lambda: ready(first) and ready(second))
    run = first.ask("submit", path=big_job(folder, 2))["run"]
    until(lambda: training(first, run), 60)
    return first, second, run


def test_three_daemons_know_each_other_from_one_address(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        first = start("one")
        others = [start(name, "--bootstrap", first.addresses[0]) for name in ("two", "three")]
        everybody = [first, *others]
        for daemon in everybody:
            expected = {other.peer for other in everybody} - {daemon.peer}
            until(lambda daemon=daemon, expected=expected: known(daemon) == expected, 10)


def test_a_second_daemon_on_the_same_state_or_key_is_refused(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        first = start("one")
        again = subprocess.run(command(tmp_path / "one"), capture_output=True, text=True, timeout=30, check=False)
        assert again.returncode == 1
        assert str(first.process.pid) in again.stderr
        assert "Traceback" not in again.stderr
        (tmp_path / "copy").mkdir(mode=0o700)
        (tmp_path / "copy" / "key.pem").hardlink_to(tmp_path / "one" / "key.pem")
        twin = subprocess.run(command(tmp_path / "copy"), capture_output=True, text=True, timeout=30, check=False)
        assert twin.returncode == 1
        assert "key" in twin.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_a_daemon_that_trains(tmp_path: Path, how: signal.Signals) -> None:
    shared = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").exists() else set()
    with daemons(tmp_path) as start:
        daemon = start("one")
        run = daemon.ask("submit", path=big_job(tmp_path, 1))["run"]
        until(lambda: training(daemon, run), 60)
        assert len(daemon.look()) >= 3
        assert daemon.kill(how) == []
        until(lambda: not daemon.paths.control.exists(), 2)
        assert not Path("/dev/shm").exists() or set(Path("/dev/shm").iterdir()) <= shared
        with pytest.raises(DaemonUnreachable):
            call(daemon.paths, "status")


def test_a_killed_stage_ends_the_run_and_frees_the_others(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        first, second, run = two_that_train(start, tmp_path)
        second.kill()
        view = until(lambda: (view := first.ask("job", run=run))["state"] == "failed" and view, 15)
        assert view["code"] == "peer_lost"
        assert second.peer[-8:] in view["reason"]
        until(lambda: not first.ask("status")["hosting"], 10)


def test_a_member_that_is_stopped_says_so(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        first, second, run = two_that_train(start, tmp_path)
        second.ask("shutdown")
        view = until(lambda: (view := first.ask("job", run=run))["state"] == "failed" and view, 15)
        assert view["code"] == "peer_lost"
        assert "its owner stopped it" in view["reason"]
        assert second.process.wait(10) == 0


def test_a_coordinator_killed_for_good_frees_every_stage(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        first, second, _ = two_that_train(start, tmp_path)
        first.kill()
        until(lambda: not second.ask("status")["hosting"], 60)
        assert len(second.look()) <= 2  # the daemon and its sweeper


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_outlives_its_coordinators_end_and_goes_on_by_itself(tmp_path: Path, how: signal.Signals) -> None:
    job = str(small_job(tmp_path, steps=150))
    with daemons(tmp_path) as start:
        daemon = start("one")
        run = daemon.ask("submit", path=job)["run"]
        until(lambda: (daemon.ask("job", run=run)["checkpoint"] or 0) >= 10, 60)
        daemon.kill(how)
        again = start("one")
        other = again.ask("submit", path=job)["run"]
        ends = [until(lambda each=each: done(again, each), 60) for each in (run, other)]
        assert ends[0]["weights_sha256"] == ends[1]["weights_sha256"] is not None
        assert ends[0]["term"] == 2


@pytest.mark.parametrize(
    ("how", "reason"), [(signal.SIGKILL, "the stream to"), (signal.SIGSTOP, "no heartbeat")], ids=["killed", "frozen"]
)
def test_a_replica_that_is_killed_or_frozen_is_left_out(tmp_path: Path, how: signal.Signals, reason: str) -> None:
    job = small_job(tmp_path, steps=120)
    job.write_text(job.read_text() + "[run]\nmax_stages = 1\nreplicas = 2\n")
    with daemons(tmp_path) as start:
        first = start("one", "--accept", "network")
        second = start("two", "--accept", "network", "--bootstrap", first.addresses[0])
        until(lambda: ready(first) and ready(second))
        run = first.ask("submit", path=str(job))["run"]
        assert len(until(lambda: training(first, run), 60)["stages"]) == 2
        for process in second.look():
            process.send_signal(how)
        view = until(lambda: done(first, run), 60)
        (recovery,) = view["recoveries"]
        assert (view["term"], recovery["rung"], recovery["again"]) == (1, "replica", 0)
        assert reason in recovery["reason"]


def test_a_crashed_compute_process_ends_the_run_not_the_daemon(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        daemon = start("one", "--fault", "crash:0:2")
        run = daemon.ask("submit", path=big_job(tmp_path, 1))["run"]
        view = until(lambda: (view := daemon.ask("job", run=run))["state"] == "failed" and view, 60)
        assert "compute process ended" in view["reason"]
        assert daemon.ask("status")["pid"] == daemon.process.pid
