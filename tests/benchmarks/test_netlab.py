"""The lab's links: when packets arrive, which do not, and what a lab says when it cannot be made."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.netlab.control import obey
from benchmarks.netlab.devices import check_rights
from benchmarks.netlab.hosts import Host, LabError, changed, read_hosts, same_hosts
from benchmarks.netlab.packets import Packet, parse
from benchmarks.netlab.queueing import Queues

MBIT = Host(up=8.0, down=8.0, delay=5.0, buffer=100.0)
"""A thousand bytes a millisecond, ten milliseconds away from its like."""


def packet(target: int, size: int = 1000, ports: bytes = bytes(4)) -> Packet:
    return Packet(target, size, 6, ports, b"")


def raw(target: int, segment: int = 0, body: int = 40) -> bytes:
    """A TCP packet as a device gives it out."""
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + body, 0, 0, 64, 6, 0, bytes((10, 77, 0, 1)), bytes((10, 77, 0, target + 1))
    )
    virtio = struct.pack("<BBHHHH", 0, 1 if segment else 0, 40, segment, 0, 0)
    return virtio + ip + struct.pack(">HH", 4000, 5000) + bytes(body - 4)


def arrivals(queues: Queues) -> list[float]:
    """Milliseconds at which what is under way arrives."""
    times = []
    while (at := queues.next_arrival()) is not None:
        times += [round(at * 1e3, 6)] * len(queues.due(at))
    return times


def test_a_packet_takes_both_rates_and_both_delays() -> None:
    queues = Queues((MBIT, MBIT))
    queues.accept(0, packet(1), 0.0)
    assert arrivals(queues) == [1 + 5 + 5 + 1]


def test_packets_follow_each_other_at_the_slower_rate() -> None:
    queues = Queues((MBIT, changed(MBIT, ["down=4"])))
    for _ in range(3):
        queues.accept(0, packet(1), 0.0)
    assert arrivals(queues) == [13, 15, 17]


def test_a_full_buffer_drops_what_comes_last() -> None:
    queues = Queues((changed(MBIT, ["buffer=3"]), MBIT))
    for _ in range(10):
        queues.accept(0, packet(1), 0.0)
    assert len(arrivals(queues)) == 4
    assert queues.statistics()[0]["overflowed"] == 6
    assert queues.statistics()[0]["longest_queue_ms"] == 4.0
    assert queues.statistics()[1]["received_bytes"] == 4000


def test_losses_have_their_probability_and_follow_the_seed() -> None:
    def lost(seed: int) -> tuple[float, list[float]]:
        queues = Queues((changed(MBIT, ["loss=0.1"]), MBIT), seed)
        for number in range(2000):
            queues.accept(0, packet(1), number / 100)
        return queues.statistics()[0]["lost"], arrivals(queues)

    assert lost(1) == lost(1)
    assert lost(1) != lost(2)
    assert 150 < lost(1)[0] < 250


def test_a_cut_blocks_a_host_or_a_path_until_it_heals() -> None:
    queues = Queues((MBIT,) * 3)
    obey(queues, "cut 0 1")
    for target in (1, 2):
        queues.accept(0, packet(target), 0.0)
    assert [each.target for each in queues.due(1.0)] == [2]
    obey(queues, "cut 2")
    queues.accept(0, packet(2), 1.0)
    assert queues.next_arrival() is None
    obey(queues, "heal   # all is well")
    queues.accept(0, packet(2), 2.0)
    assert queues.next_arrival() is not None
    assert queues.statistics()[0]["blocked"] == 2


def test_a_nat_lets_in_only_replies() -> None:
    queues = Queues((Host(nat=True), Host()))
    there, back = struct.pack(">HH", 4000, 80), struct.pack(">HH", 80, 4000)
    queues.accept(1, packet(0, ports=back), 0.0)
    assert queues.next_arrival() is None
    queues.accept(0, packet(1, ports=there), 1.0)
    queues.accept(1, packet(0, ports=back), 2.0)
    assert [each.target for each in queues.due(9.0)] == [1, 0]


def test_a_link_is_changed_while_it_runs() -> None:
    queues = Queues((MBIT, MBIT))
    obey(queues, "set 0 up=80 delay=0")
    obey(queues, "")
    queues.accept(0, packet(1), 0.0)
    assert arrivals(queues) == [0.1 + 5 + 1]


BAD_LINES = ("set 0 colour=3", "set 9 up=1", "set 0 up=fast", "set 0 up=-1", "cut -1", "cut a", "x")


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_line_that_is_not_understood_says_so(line: str) -> None:
    with pytest.raises(LabError):
        obey(Queues((MBIT, MBIT)), line)


def test_a_packet_is_parsed_to_its_target_and_ports() -> None:
    found = parse(raw(2))
    assert found is not None
    assert (found.target, found.wire_bytes, found.protocol, found.ports) == (2, 60, 6, struct.pack(">HH", 4000, 5000))


def test_a_large_packet_counts_the_headers_of_all_its_segments() -> None:
    found = parse(raw(1, segment=1000, body=20 + 5000))
    assert found is not None
    assert found.wire_bytes == 40 + 5000 + 4 * 52


@pytest.mark.parametrize("data", [b"", bytes(10), raw(1)[:20], bytes(10) + b"\x60" + bytes(39)])
def test_what_is_no_packet_of_the_lab_is_left_alone(data: bytes) -> None:
    assert parse(data) is None


def test_a_packet_for_nobody_goes_nowhere() -> None:
    queues = Queues((MBIT, MBIT))
    queues.accept(0, packet(7), 0.0)
    assert queues.next_arrival() is None


def test_hosts_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text("[[host]]\nup = 40\nnat = true\n[[host]]\ndelay = 1\n")
    assert read_hosts(path) == (Host(up=40, nat=True), Host(delay=1))


@pytest.mark.parametrize("text", ["", "[[host]]\n", "[[host]]\nspeed=1\n[[host]]\n", "[[host]]\nup=0\n[[host]]\n", "["])
def test_a_file_that_makes_no_lab_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    with pytest.raises(LabError):
        read_hosts(path)


def test_a_lab_without_root_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"sudo|Linux"):
        check_rights()


def test_a_lab_has_two_hosts_at_least() -> None:
    with pytest.raises(LabError, match="from 2 to 250"):
        same_hosts(1, MBIT)


def lab_is_possible() -> bool:
    try:
        check_rights()
    except LabError:
        return False
    return not Path("/var/run/netns/lab0").exists()


@pytest.mark.net
@pytest.mark.slow
@pytest.mark.skipif(not lab_is_possible(), reason="needs root, /dev/net/tun, and no other lab")
def test_bytes_cross_a_lab_whole_and_are_counted() -> None:
    there = "import socket; s = socket.create_server(('', 5000)); print(1, flush=True); c = s.accept()[0]; n = 0\n"
    there += "while k := len(c.recv(65536)): n += k\nprint(n)"
    here = "import socket; c = socket.create_connection(('10.77.0.2', 5000)); c.sendall(bytes(1 << 20)); c.close()"
    script = (
        "import subprocess as s, sys\n"
        "run = lambda host, code: s.Popen(['ip', 'netns', 'exec', host, sys.executable, '-c', code], stdout=s.PIPE)\n"
        f"taker = run('lab1', {there!r}); taker.stdout.readline(); run('lab0', {here!r}).wait()\n"
        "sys.exit(int(taker.stdout.read()) != 1 << 20)"
    )
    lab = [sys.executable, "-m", "benchmarks.netlab", "--json", "--delay", "1", "--", sys.executable, "-c", script]
    done = subprocess.run(lab, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    hosts = json.loads(done.stderr)["hosts"]
    assert hosts[0]["sent_bytes"] > 1 << 20 <= hosts[1]["received_bytes"]
