"""up, down, status, id, peers, gpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from swarmd.cli.main import main
from swarmd.paths import Paths
from swarmd.protocols.control import as_json
from tests.cli import snapshots
from tests.cli.conftest import Became, Cli
from tests.cli.fake_daemon import FakeDaemon

pytestmark = pytest.mark.net


def test_status_names_peer_addresses_device_and_why_it_is_idle(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("status")
    assert said.code == 0
    for text in (snapshots.PEERS[0], "/ip4/192.168.1.10/tcp/4801", "RTX 3060", "no job asks for a device"):
        assert text in said.out
    assert "swarmd top" in said.err


def test_status_before_the_probe_has_ended(cli: Cli, daemon: FakeDaemon) -> None:
    busy = replace(snapshots.node(), device=None, runs=0, addresses=(), idle_reason="")
    daemon.answers["status"] = lambda _: as_json(busy)
    said = cli("status")
    assert "being measured" in said.out
    assert "none yet" in said.out
    assert "swarmd train JOB.toml" in said.err


def test_status_names_the_runs_it_hosts(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["status"] = lambda _: as_json(replace(snapshots.node(), hosting=(snapshots.RUN,)))
    assert f"a stage of {snapshots.RUN[:8]}" in cli("status").out


def test_status_warns_of_a_daemon_of_another_version(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["status"] = lambda _: as_json(snapshots.node("0.0.1"))
    assert "the daemon is swarmd 0.0.1" in cli("status").err


def test_status_as_json_is_the_view_with_a_version(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("status", "--json")
    assert json.loads(said.out) == {"v": 1, **json.loads(json.dumps(as_json(snapshots.node())))}
    assert said.err == ""


def test_an_answer_of_another_shape_is_a_failure_that_says_to_restart(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["status"] = lambda _: {"peer": "x"}
    said = cli("status")
    assert said.code == 1
    assert "not of this version" in said.err
    assert "swarmd down" in said.err


def test_id_prints_the_peer_id_alone(cli: Cli, daemon: FakeDaemon) -> None:
    assert cli("id").out == snapshots.PEERS[0] + "\n"
    assert cli("id", "--addresses").out == snapshots.node().addresses[0] + "\n"
    assert json.loads(cli("id", "--json").out)["peer"] == snapshots.PEERS[0]


def test_peers_lists_connected_ones_first(cli: Cli, daemon: FakeDaemon) -> None:
    out = cli("peers").out
    assert out.index("attic") < out.index("study") < out.index("cellar")
    assert "82.6 TFLOP/s" in out
    assert len(json.loads(cli("peers", "--json").out)["peers"]) == 3


def test_no_peers_says_how_to_find_some(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["peers"] = lambda _: {"peers": []}
    for network, here, there in (
        ("main", "id --addresses", "--bootstrap ADDRESS"),
        ("home", "network invite", "--join INVITE"),
    ):
        daemon.answers["status"] = lambda _, network=network: as_json(replace(snapshots.node(), network=network))
        said = cli("peers")
        assert said.out == ""
        assert f"next: swarmd {here}; then on another machine, with what it prints: swarmd up {there}" in said.err


def test_gpus_lists_each_device_once_fastest_first(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("gpus")
    assert said.out.index("RTX 4090") < said.out.index("RTX 3060") < said.out.index("Ryzen")
    assert "3 devices, 95.8 TFLOP/s together" in said.err
    devices = json.loads(cli("gpus", "--json").out)["devices"]
    assert [device["name"] for device in devices] == ["study", "this node", "cellar"]


def test_gpus_without_a_measured_device(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["status"] = lambda _: as_json(replace(snapshots.node(), device=None))
    daemon.answers["peers"] = lambda _: {"peers": []}
    assert "no device has been measured yet" in cli("gpus").err


def test_gpus_probe_measures_without_a_daemon(cli: Cli, became: type[Became]) -> None:
    with pytest.raises(became) as caught:
        cli("gpus", "--probe", "--json")
    assert caught.value.command == [sys.executable, "-P", "-m", "swarmd.gpu.probe"]
    with pytest.raises(became) as in_words:
        cli("gpus", "--probe")
    assert in_words.value.command[4:] == ["--words"]


def test_up_becomes_the_daemon_and_passes_every_flag_on(cli: Cli, became: type[Became]) -> None:
    words = (
        "up --listen /ip4/0.0.0.0/tcp/1 --listen /ip4/0.0.0.0/tcp/2 --tensor-host 127.0.0.1 --tensor-port 3"
        " --bootstrap a --bootstrap b --no-mdns --name n --device cpu --threads 2 --price 5 --accept list"
        " --allow p --max-stages 2 --memory 8GiB --metrics off --log-level debug --json"
    )
    with pytest.raises(became) as caught:
        cli(*words.split())
    assert caught.value.command[:4] == [sys.executable, "-P", "-m", "swarmd"]
    flags = caught.value.command[4:]
    assert flags[:4] == [
        "--listen=/ip4/0.0.0.0/tcp/1",
        "--listen=/ip4/0.0.0.0/tcp/2",
        "--tensor-host=127.0.0.1",
        "--tensor-port=3",
    ]
    assert flags[4:9] == ["--bootstrap=a", "--bootstrap=b", "--no-mdns", "--name=n", "--device=cpu"]
    assert flags[9:] == [
        "--threads=2",
        "--price=5",
        "--accept=list",
        "--allow=p",
        "--max-stages=2",
        "--memory=8GiB",
        "--metrics=off",
        "--log-level=debug",
        "--json",
    ]


def test_up_alone_passes_only_the_state_folder(cli: Cli, became: type[Became], paths: Paths) -> None:
    with pytest.raises(became) as caught:
        cli("up", "--state-dir", str(paths.state_dir))
    assert len(caught.value.command) == 5
    assert caught.value.command[4].startswith("--state-dir=")


def test_a_state_folder_in_the_environment_is_the_daemons_business(became: type[Became]) -> None:
    with pytest.raises(became) as caught:
        main(["up"])
    assert caught.value.command[4:] == []


@pytest.fixture
def ended(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon whose process is gone by the time it is looked for."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    daemon.answers["status"] = lambda _: as_json(replace(snapshots.node(), pid=done.pid))
    return daemon


def test_down_waits_until_the_daemon_has_gone(cli: Cli, ended: FakeDaemon) -> None:
    said = cli("down")
    assert said.code == 0
    assert "has stopped" in said.err
    assert [method for method, _ in ended.asked] == ["status", "shutdown"]
    assert cli("down").code == 3


def test_down_does_not_say_stopped_while_the_process_lives(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["status"] = lambda _: as_json(replace(snapshots.node(), pid=os.getpid()))
    said = cli("down", "--timeout", "0.2")
    assert said.code == 7
    assert f"the daemon (process {os.getpid()}) still runs" in said.err
    assert "has stopped" not in said.err


def test_down_stops_a_daemon_of_another_version_too(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["status"] = lambda _: {}
    assert cli("down").code == 0


def test_down_promises_no_hand_over(cli: Cli) -> None:
    said = cli("down", "--help").out
    assert "ends what runs here in order" in said
    assert "hands" not in said


@pytest.mark.parametrize("words", [("up",), ("jobs", "ls"), ("train",)])
def test_help_has_no_placeholder_after_a_flag(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words, "-h").out
    assert "<bool>" not in said
    assert "-h" in said


def test_a_peer_that_is_not_probed_yet_says_so(cli: Cli, daemon: FakeDaemon) -> None:
    unknown = replace(snapshots.device(), name="x", flops=0.0, memory_bytes=0)
    daemon.answers["peers"] = lambda _: {"peers": [as_json(replace(snapshots.peer(1), device=unknown))]}
    for command in ("peers", "gpus"):
        said = cli(command)
        assert "not probed yet" in said.out
        assert "0 B" not in said.out
        assert " 0 FLOP/s" not in said.out
    assert "1 device, 12.7 TFLOP/s together; 1 not probed yet" in said.err


def test_one_thread_is_one_thread(cli: Cli, daemon: FakeDaemon) -> None:
    alone = replace(snapshots.device(2), threads=1)
    daemon.answers["status"] = lambda _: as_json(replace(snapshots.node(), device=alone))
    assert "(1 thread)" in cli("status").out


def test_hints_leave_out_a_folder_that_is_the_usual_one(cli: Cli, daemon: FakeDaemon, paths: Paths) -> None:
    assert "  swarmd top " in cli("status", "--state-dir", str(paths.state_dir)).err


def test_a_pasted_hint_asks_the_same_node(daemon: FakeDaemon, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"swarmd --state-dir {paths.state_dir}"
    assert main(["status", "--state-dir", str(paths.state_dir)]) == 0
    assert f"  {folder} top " in capsys.readouterr().err
    daemon.answers["peers"] = lambda _: {"peers": []}
    assert main(["peers", "--state-dir", str(paths.state_dir)]) == 0
    said = capsys.readouterr().err
    assert f"{folder} network invite; then on another machine, with what it prints: swarmd up --join" in said


def test_a_command_for_another_machine_names_no_folder_of_this_one(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--state-dir", str(paths.state_dir)]
    assert main([*folder, "wallet", "pay", "bob", "1"]) == 2
    said = capsys.readouterr().err
    assert f"swarmd --state-dir {paths.state_dir} peers --json" in said
    assert "on that machine: swarmd id" in said
    assert main([*folder, "network", "join", "NOFILE"]) == 2
    assert "on the other node: swarmd network invite" in capsys.readouterr().err


def test_down_as_json(cli: Cli, ended: FakeDaemon) -> None:
    assert json.loads(cli("down", "--json").out) == {"v": 1, "stopped": True, "dropped": []}


def test_down_says_which_writes_are_dropped(cli: Cli, ended: FakeDaemon) -> None:
    ended.answers["shutdown"] = lambda _: {"dropped": ["5 credits to F7rZYmvx"]}
    said = cli("down")
    assert (said.code, said.err.splitlines()) == (
        0,
        [
            "the daemon has stopped",
            "1 write had not been signed yet, and will not be; ask again for what you still want:",
            "  5 credits to F7rZYmvx",
        ],
    )
