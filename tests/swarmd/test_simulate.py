"""Files of described peers, and the answer about a job on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from swarmd.cli.spawn import module_command
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.jobfile import parse_job
from swarmd.simulate.__main__ import main
from swarmd.simulate.answer import answer
from swarmd.simulate.costs import profile_of, spec_of
from swarmd.simulate.peers import DescribedPeers, read_peers

ROOT = Path(__file__).resolve().parent.parent.parent
JOB = """
[model]
layers = 4
hidden = 64
heads = 2
[data]
embedded = true
[batch]
sequence_length = 64
micro_batches = 32
[run]
min_stages = 2
"""
PEER = '[[peer]]\nname = "attic"\ntflops = 2\nmemory = "1GiB"\n'


def read(tmp_path: Path, text: str) -> DescribedPeers:
    (tmp_path / "peers.toml").write_text(text)
    return read_peers(tmp_path / "peers.toml")


class TestPeers:
    def test_the_example(self):
        found = read_peers(ROOT / "examples" / "peers" / "homes.toml")
        assert [peer.name for peer in found.peers] == ["attic", "study", "garage-1", "garage-2"]
        attic, _, garage, _ = found.peers
        assert (attic.operations_per_s, attic.uplink, attic.memory_bytes) == (35e12, 5e6, 12 << 30)
        assert found.round_trip(attic, garage) == found.round_trip(garage, attic) == 0.095
        assert found.efficiency == 0.4

    def test_without_regions_a_pair_takes_the_mean(self, tmp_path: Path):
        text = "efficiency = 0.5\n" + PEER + 'rtt_ms = 30\n[[peer]]\nname = "b"\nseconds_per_layer = 0.1\nmemory = 5\n'
        found = read(tmp_path, text)
        assert found.round_trip(*found.peers) == 0.015
        assert found.peers[1].uplink == 0.0
        assert found.efficiency == 0.5

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "there is no peer; each is a [[peer]] table"),
            ("peer = [3]", "peer 1: must be a table"),
            ("efficiency = 2\n" + PEER, "efficiency = 2: must be a number above 0, up to 1"),
            ("other = 2\n" + PEER, "there is no setting 'other'"),
            (PEER + "up = 3", "peer 1 (attic): there is no field 'up'"),
            (PEER + "up_mbit = 0", "peer 1 (attic): up_mbit = 0: must be a number above 0"),
            (PEER + "down_mbit = true", "down_mbit = True: must be a number above 0"),
            (PEER + "rtt_ms = -1", "rtt_ms = -1: must be a number from 0"),
            (PEER + "count = 0", "count = 0: must be a whole number from 1 to 1024"),
            (PEER + "seconds_per_layer = 1.0", "tflops = 2: give it or seconds_per_layer, one of both"),
            ('[[peer]]\nname = "a"\nmemory = 5', "tflops is not given: give it or seconds_per_layer"),
            ("[[peer]]\ntflops = 1\nmemory = 5", "peer 1: name is not given: must be a text of 1 to 40 letters"),
            ('[[peer]]\nname = "a"\ntflops = 1', "memory is not given: must be a size such as 8GiB"),
            (PEER + 'region = "eu"', "region = 'eu': there is no [regions] table"),
            (PEER + PEER, "two peers are called attic"),
            (PEER + "count = 1000\n" + PEER.replace("attic", "b") + "count = 1000", "2000 peers; at most 1024"),
            ("regions = 3\n" + PEER, "regions: must be one table"),
            (PEER + 'region = "us"\n[regions]\neu = { eu = 5 }', "region = 'us': not in [regions]"),
            (PEER + "[regions]\neu = { eu = 5 }", "region is not given"),
            (PEER + "rtt_ms = 5\n[regions]\neu = { eu = 5 }", "rtt_ms = 5: the round trips are those of [regions]"),
            (PEER + 'region = "eu"\n[regions]\neu = { eu = 5, us = 9 }', "regions.us: has no round trip to us"),
            (PEER + 'region = "eu"\n[regions]\neu = { eu = "x" }', "regions.eu: eu = 'x': must be a number from 0"),
        ],
    )
    def test_a_mistake_names_the_field_and_what_would_be_right(self, tmp_path: Path, text: str, words: str):
        with pytest.raises(UsageError) as caught:
            read(tmp_path, text)
        assert words in caught.value.message
        assert caught.value.hint

    def test_no_file(self, tmp_path: Path):
        with pytest.raises(NotFound):
            read_peers(tmp_path / "none.toml")


class TestCosts:
    def test_a_described_peer_is_as_fast_as_its_operations_a_second(self, tmp_path: Path):
        spec = spec_of(parse_job(JOB, "job.toml"), tmp_path)
        peer = read(tmp_path, PEER).peers[0]
        whole, half = (profile_of(peer, "p", spec, share) for share in (1.0, 0.5))
        assert half.seconds_per_layer == 2 * whole.seconds_per_layer
        assert whole.seconds_head > 0
        measured = read(tmp_path, '[[peer]]\nname = "b"\nseconds_per_layer = 0.1\nseconds_head = 0.3\nmemory = 5').peers
        profile = profile_of(measured[0], "p", spec, 0.4)
        assert (profile.seconds_per_layer, profile.seconds_head) == (0.1, 0.3)

    def test_a_checkpoint_s_sizes_are_those_of_its_config(self, tmp_path: Path):
        sizes = {
            "model_type": "llama", "vocab_size": 300, "hidden_size": 64, "num_attention_heads": 2,
            "intermediate_size": 128, "num_hidden_layers": 7, "max_position_embeddings": 64,
        }  # fmt: skip
        (tmp_path / "llama").mkdir()
        (tmp_path / "llama" / "config.json").write_text(json.dumps(sizes))
        job = '[model]\ncheckpoint = "llama"\n[tokenizer]\nkind = "bytes"\n[data]\nembedded = true\n'
        assert spec_of(parse_job(job, "job.toml"), tmp_path).model.num_hidden_layers == 7

    def test_described_seconds_are_of_one_sequence_where_the_job_leaves_the_micro_batch_open(self, tmp_path: Path):
        peers = read(
            tmp_path, '[[peer]]\nname = "b"\ncount = 2\nseconds_per_layer = 0.001\nmemory = "1GiB"\nrtt_ms = 5'
        )
        job = JOB.replace("micro_batches = 32", "sequences = 64")
        found = answer(parse_job(job, "job.toml"), tmp_path, peers)
        size, count = found["job"]["micro_batch_size"], found["job"]["micro_batches"]
        assert size * count == 64
        assert size > 1
        assert found["job"]["batch"].startswith(
            f"64 sequences a step: {count} micro-batches of {size} (chosen: 2 stages"
        )
        first, _ = found["plan"]["stages"]
        layers = first["end"] - first["first"]
        assert first["peers"][0]["compute_seconds"] == pytest.approx(layers * size * 0.001)


class TestAnswer:
    def test_the_plan_its_speed_and_its_bound(self, tmp_path: Path):
        peers = read(tmp_path, PEER + "count = 3\nup_mbit = 50\nrtt_ms = 20")
        found = answer(parse_job(JOB, "job.toml"), tmp_path, peers)
        first, last = found["plan"]["stages"]
        assert (first["first"], last["end"]) == (0, 4)
        assert found["plan"]["stages"][0]["reason"].startswith("attic-1: layer")
        assert found["plan"]["left_out"][0].startswith("left out attic-3")
        assert 0.5 < found["ratio"] <= 1
        assert found["tokens_per_s"] == pytest.approx(found["ratio"] * found["bound_tokens_per_s"])
        assert found["bound"]["kind"] in ("uplink", "round trip", "filling")
        assert found["steps_simulated"] == 12
        assert found == answer(parse_job(JOB, "job.toml"), tmp_path, peers)

    def test_several_peers_may_share_a_stage(self, tmp_path: Path):
        peers = read(tmp_path, PEER + "count = 5\nup_mbit = 50\nrtt_ms = 1")
        job = parse_job(JOB.replace("= 32", "= 128"), "job.toml")
        alone, shared = (answer(job, tmp_path, peers, replicas=several) for several in (False, True))
        assert shared["bound_tokens_per_s"] >= 1.9 * alone["bound_tokens_per_s"]
        assert shared["tokens_per_s"] > 1.5 * alone["tokens_per_s"]
        assert sum(len(stage["peers"]) for stage in shared["plan"]["stages"]) >= 4
        assert "attic-" in shared["plan"]["stages"][0]["reason"]

    def test_as_a_process(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        (tmp_path / "job.toml").write_text(JOB)
        (tmp_path / "peers.toml").write_text(PEER + "count = 2")
        arguments = [str(tmp_path / "job.toml"), f"--peers={tmp_path / 'peers.toml'}"]
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["result"]["job"]["layers"] == 4
        (tmp_path / "peers.toml").write_text("")
        assert main(arguments) == 2
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"

    @pytest.mark.slow
    def test_torch_is_not_loaded(self):
        code = "import sys, swarmd.simulate.__main__; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
        assert module_command("swarmd.simulate", [])[-1] == "swarmd.simulate"
