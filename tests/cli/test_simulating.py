"""``swarmd simulate``: its words, its JSON, and its mistakes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from swarmd.cli import simulate_commands
from tests.cli.conftest import Cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
JOB = "[model]\nlayers = 4\n[data]\nembedded = true\n[run]\nmin_stages = 2\n"
PEERS = ROOT / "examples" / "peers" / "homes.toml"


@pytest.fixture
def job(tmp_path: Path) -> str:
    (tmp_path / "job.toml").write_text(JOB)
    return str(tmp_path / "job.toml")


def test_it_says_plan_speed_bound_and_why(cli: Cli, job: str) -> None:
    said = cli("simulate", job, "--peers", str(PEERS))
    assert said.code == 0
    assert "tokens/s" in said.out
    assert "bound by" in said.out
    assert "left out garage-1" in said.out
    assert said.err == ""


def test_json_is_one_object(cli: Cli, job: str) -> None:
    found = json.loads(cli("simulate", job, "--peers", str(PEERS), "--json").out)
    assert found["v"] == 1
    assert 0 < found["ratio"] <= 1
    assert [len(stage["peers"]) for stage in found["plan"]["stages"]] == [1, 1]


def test_stages_may_have_several_peers(cli: Cli, job: str) -> None:
    found = json.loads(cli("simulate", job, "--peers", str(PEERS), "--replicas", "--json").out)
    assert "micro-batches a second" in found["plan"]["summary"]


def test_a_job_with_stale_steps_wastes_less_and_with_replicas_is_taken_as_synchronous(cli: Cli, tmp_path: Path) -> None:
    ratios = []
    for mode in ("flow-sync", "flow-async"):
        file = tmp_path / f"{mode}.toml"
        file.write_text(f'{JOB}[schedule]\nmode = "{mode}"\n')
        for more in ([], ["--replicas"]):
            found = json.loads(cli("simulate", str(file), "--peers", str(PEERS), *more, "--json").out)
            ratios.append(found["ratio"])
    assert ratios[0] < ratios[2]
    assert ratios[1] == ratios[3]


def test_mistakes_are_those_of_the_file(cli: Cli, job: str, tmp_path: Path) -> None:
    (tmp_path / "peers.toml").write_text('[[peer]]\nname = "a"\ntflops = 0\nmemory = 5\n')
    said = cli("simulate", job, "--peers", str(tmp_path / "peers.toml"))
    assert (said.code, "peer 1 (a): tflops = 0: must be a number above 0" in said.err) == (2, True)
    (tmp_path / "job.toml").write_text("[model]\nlayer = 3\n")
    assert "did you mean layers?" in cli("simulate", job, "--peers", str(PEERS)).err


def test_a_child_that_dies_or_hangs_is_said(cli: Cli, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_commands, "module_command", lambda *_: ["false"])
    assert "gave no answer (exit code 1)" in cli("simulate", job, "--peers", str(PEERS)).err

    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("swarmd", 1.0)

    monkeypatch.setattr(subprocess, "run", hang)
    assert cli("simulate", job, "--peers", str(PEERS)).code == 7
