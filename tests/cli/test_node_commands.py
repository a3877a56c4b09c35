"""up, down, status, id, peers, gpus."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

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
    said = cli("peers")
    assert said.out == ""
    assert "--bootstrap" in said.err


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
    assert caught.value.command == [sys.executable, "-P", "-m", "swarmd.gpu.probe", "--json"]


def test_up_becomes_the_daemon_and_passes_every_flag_on(cli: Cli, became: type[Became]) -> None:
    words = (
        "up --listen /ip4/0.0.0.0/tcp/1 --listen /ip4/0.0.0.0/tcp/2 --tensor-host 127.0.0.1 --tensor-port 3"
        " --bootstrap a --bootstrap b --no-mdns --name n --device cpu --threads 2 --price 5 --accept list"
        " --allow p --max-stages 2 --memory 8GiB --metrics off --log-level debug --json"
    )
    with pytest.raises(became) as caught:
        cli(*words.split())
    assert caught.value.command[:4] == [sys.executable, "-P", "-m", "swarmd"]
    flags = caught.value.command[5:]
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


def test_up_alone_passes_only_the_state_folder(cli: Cli, became: type[Became], daemon: FakeDaemon) -> None:
    with pytest.raises(became) as caught:
        cli("up")
    assert len(caught.value.command) == 5
    assert caught.value.command[4].startswith("--state-dir=")


def test_a_state_folder_in_the_environment_is_the_daemons_business(became: type[Became]) -> None:
    from swarmd.cli.main import main

    with pytest.raises(became) as caught:
        main(["up"])
    assert caught.value.command[4:] == []


def test_down_waits_until_the_daemon_has_gone(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("down")
    assert said.code == 0
    assert "has stopped" in said.err
    assert daemon.asked[0][0] == "shutdown"
    assert cli("down").code == 3


def test_down_as_json(cli: Cli, daemon: FakeDaemon) -> None:
    assert json.loads(cli("down", "--json").out) == {"v": 1, "stopped": True}
