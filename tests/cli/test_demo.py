"""The demo: what it refuses, what its score card says, and two whole ones with real daemons."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from swarmd.cli.demo import __main__ as program
from swarmd.cli.demo import children
from swarmd.cli.demo.__main__ import main
from swarmd.cli.demo.credits import Credits
from swarmd.cli.demo.score import Score, as_object, card, nodes_of, stages_of
from swarmd.cli.demo.show import Progress, replace_line, show_for
from swarmd.cli.demo.swarm import local_swarm
from swarmd.paths import Paths
from swarmd.protocols.errors import DaemonUnreachable, NotFound, StateError
from swarmd.protocols.jobfile import parse_job
from swarmd.protocols.ledger.amounts import MICRO
from tests.cli import snapshots
from tests.cli.fake_daemon import FakeDaemon, watched
from tests.e2e.daemons import until

SCORE = Score(
    run=snapshots.RUN,
    state="done",
    reason="",
    nodes=nodes_of(snapshots.done()),
    stages=stages_of(snapshots.done()),
    steps=300,
    parameters=1_542_272,
    loss_first=5.5729,
    loss_last=2.0123,
    bigram_loss=2.3558,
    reference_loss_last=2.0123,
    weights_sha256="ab" * 32,
    reference_sha256="ab" * 32,
    bit_identical=True,
    tokens_per_s=1500.0,
    ceiling_tokens_per_s=2000.0,
    cores=2,
    seconds=81.0,
    sample="The cat.",
    model_dir="/tmp/model",
    nodes_dir="",
    orphans=0,
    credits=Credits(
        genesis="cd" * 32,
        supply=1_000_000_000,
        invoiced=3_901_234,
        receipted=3_901_234,
        paid=3_901_234,
        heads_equal=True,
    ),
)
CARD = """\
  swarm             3 nodes, 3 stages, 1.54 M parameters
  held-out loss     5.573 to 2.012 nats in 300 steps
  a bigram table    2.356 nats
  the plain loop    2.012 nats: the same file, bit for bit
  speed             1,500 tokens/s, 75% of what 2 plain loops would give
  credits           3.901234 paid for the work; the invoice, its receipts and every node's ledger say the same
  it writes         The cat.
  model             /tmp/model
  the nodes' files  removed
  left running      nothing"""


def test_the_card_says_all_in_ten_lines() -> None:
    assert card(SCORE) == CARD


def test_a_kept_demo_says_where_the_nodes_files_are() -> None:
    assert "the nodes' files  /keep/nodes" in card(replace(SCORE, nodes_dir="/keep/nodes"))


def test_without_a_terminal_progress_is_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter((0.0, 0.0, 3.0, 9.9, 10.0, 10.0))
    progress = Progress(clock=lambda: next(now))
    for text in ("step 1", "step 2", "step 3", "step 4", ""):
        progress.show(text)
    assert capsys.readouterr().err.splitlines() == ["step 1", "step 4"]


def test_the_card_hides_no_failure() -> None:
    credits = replace(SCORE.credits, paid=1_000_000, supply=999_000_000, heads_equal=False)
    text = card(replace(SCORE, bit_identical=False, orphans=2, ceiling_tokens_per_s=0.0, credits=credits))
    assert "2.012 nats: NOT the same bits" in text
    assert "left running      2 processes" in text
    assert "0% of what 2 plain loops would give" in text
    assert "books do NOT balance: 3.901234 invoiced, 3.901234 receipted, 1 paid, supply 999 of 1,000" in text
    assert "the nodes do not agree" in text


@pytest.mark.parametrize("flaw", [{"state": "failed"}, {"bit_identical": False}, {"orphans": 1}])
def test_one_flaw_is_enough_to_fail(flaw: dict[str, Any]) -> None:
    assert SCORE.good
    assert not replace(SCORE, **flaw).good


@pytest.mark.parametrize("flaw", ["supply", "invoiced", "receipted", "paid", "heads_equal"])
def test_one_sum_that_differs_is_enough_to_fail(flaw: str) -> None:
    wrong = not SCORE.credits.heads_equal if flaw == "heads_equal" else getattr(SCORE.credits, flaw) + 1
    assert not replace(SCORE, credits=replace(SCORE.credits, **{flaw: wrong})).good


def test_stages_say_who_holds_which_layers_and_why() -> None:
    assert stages_of(snapshots.done())[1] == {
        "peer": snapshots.PEERS[1],
        "layers": "4-7",
        "why": "most memory",
    }
    assert nodes_of(snapshots.done())[0] == {
        "name": "attic",
        "peer": snapshots.PEERS[0],
        "pid": 5000,
        "layers": "0-3",
        "cpu_seconds": 93.0,
        "bytes_sent": 312 << 20,
        "bytes_received": 120 << 20,
    }
    assert as_object(SCORE) == asdict(SCORE)


@pytest.mark.parametrize(("steps", "expected"), [(None, 240), (12, 12)])
def test_the_built_in_job_has_as_many_stages_as_nodes(tmp_path: Path, steps: int | None, expected: int) -> None:
    job = parse_job(program._job(Namespace(job=None, steps=steps, nodes=3), tmp_path).read_text(), "demo.toml")
    assert (job.schedule.steps, job.run.min_stages, job.model.layers) == (expected, 3, program.MAX_NODES)
    assert job.data.embedded
    assert (job.budget.max_credits, job.budget.max_price) == (program.BUDGET * MICRO, program.PRICE)


def test_nodes_ask_nothing_of_a_job_without_a_budget(tmp_path: Path) -> None:
    job = program._job(Namespace(job=None, steps=1, nodes=2), tmp_path)
    assert program._price(job) == program.PRICE
    job.write_text(job.read_text().partition("[budget]")[0])
    assert program._price(job) == 0
    job.write_text("no job")
    assert program._price(job) == program._price(tmp_path / "missing") == 0


def test_a_job_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    assert program._job(Namespace(job=own, steps=None, nodes=3), tmp_path) == own.resolve()
    assert not own.exists()


def test_a_folder_to_keep_must_be_new_or_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main(["--keep", str(tmp_path)]) == 2
    assert f"{tmp_path} is not an empty folder" in capsys.readouterr().err
    assert main(["--keep", str(tmp_path / "mine"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["hint"] == "give --keep a new one"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_steps_are_for_the_built_in_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--job", "own.toml", "--steps", "3"]) == 2
    assert "--steps is for the built-in job\n  next: set steps in own.toml" in capsys.readouterr().err


@pytest.mark.parametrize("nodes", ["0", "9", "many"])
def test_the_number_of_nodes_is_bounded(nodes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--nodes", nodes])
    assert "--nodes" in capsys.readouterr().err


def test_a_run_is_followed_by_a_line_for_each_news(
    daemon: FakeDaemon, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    preparing, training = snapshots.preparing(), snapshots.training()
    daemon.answers["watch"] = lambda _: watched(None, preparing, preparing, training, snapshots.done())
    show = show_for(as_json=True)
    assert not show.live
    assert show.follow(paths, snapshots.RUN) == snapshots.done()
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["probing", "training", "done"]


def test_a_daemon_that_goes_away_in_the_middle_is_told(daemon: FakeDaemon, paths: Paths) -> None:
    daemon.answers["watch"] = lambda _: watched(snapshots.training())
    with pytest.raises(DaemonUnreachable, match="went away before the run's end"):
        show_for(as_json=True).follow(paths, snapshots.RUN)


def test_progress_is_not_shown_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    replace_line("step 3 of 9")
    assert capsys.readouterr().err == ""


def test_progress_replaces_itself_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    replace_line("x" * 200)
    assert capsys.readouterr().err == "\r\x1b[K" + "x" * 100


def answered_by(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let ``swarmd.train`` be this program."""
    monkeypatch.setattr(children, "module_command", lambda *_: [sys.executable, "-c", script])


def test_what_a_model_writes_cannot_command_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(monkeypatch, r"import json; print(json.dumps({'text': '\x1b[2J cat \n sat\x07'}))")
    assert children.sample(Path("model"), "The ") == "The ?[2J cat sat?"


def test_a_child_s_error_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"code": "not_found", "message": "no text", "hint": ""}
    answered_by(monkeypatch, f"import json; print(json.dumps({ {'error': error} }))")
    with pytest.raises(NotFound, match="no text"):
        children.local_run(Path("job.toml"), Path("out"))


def test_a_child_that_ends_without_a_word_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(monkeypatch, "import sys; print('working', file=sys.stderr); sys.exit(3)")
    with pytest.raises(StateError, match=r"swarmd\.train local ended with exit code 3 and no result"):
        children.local_run(Path("job.toml"), Path("out"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets below it."""
    place = Path(tempfile.mkdtemp(prefix="swarmd-t-"))
    yield place
    shutil.rmtree(place)


@pytest.mark.slow
def test_a_node_that_does_not_start_is_named_with_the_end_of_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARMD_PRICE", "free")
    with pytest.raises(StateError, match="node-1 ended with exit code 2") as failure, local_swarm(folder, 2):
        pass
    assert "its log ends: swarmd: SWARMD_PRICE: price = 'free' will not do" in failure.value.hint


def run_demo(folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "swarmd.cli.demo", "--nodes", "2", "--steps", "4", "--json", *flags],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.net
@pytest.mark.heavy
def test_a_demo_trains_the_plain_loop_s_model_and_leaves_nothing_running(folder: Path) -> None:
    with run_demo(folder) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    score = json.loads(out.splitlines()[-1])
    assert score.keys() == {"v", *(field.name for field in fields(Score))}
    assert (score["state"], score["reason"], score["bit_identical"], score["orphans"]) == ("done", "", True, 0)
    assert score["weights_sha256"] == score["reference_sha256"] == sha256(Path(score["model_dir"]))
    assert len(score["run"]) == 64
    assert score["steps"] == 4
    assert score["parameters"] == 1_542_272
    assert score["loss_last"] == score["reference_loss_last"] < score["loss_first"]
    assert 0 < score["bigram_loss"] < score["loss_first"]
    assert score["tokens_per_s"] > 0
    assert score["ceiling_tokens_per_s"] > 0
    assert 1 <= score["cores"] <= 2
    assert score["seconds"] > 0
    assert score["sample"].startswith("The ")
    check_nodes(score)
    check_credits(score["credits"])
    assert not (Path(score["model_dir"]).parent / "nodes").exists()


def check_nodes(score: dict[str, Any]) -> None:
    assert [stage["layers"] for stage in score["stages"]] == [node["layers"] for node in score["nodes"]]
    assert score["stages"][0]["layers"].startswith("0-")
    assert score["stages"][-1]["layers"].endswith("-7")
    assert all(stage["why"] and stage["peer"] for stage in score["stages"])
    assert {node["name"] for node in score["nodes"]} == {"node-1", "node-2"}
    assert all(node["cpu_seconds"] > 0 and node["pid"] > 0 for node in score["nodes"])
    first, last = score["nodes"]
    assert first["bytes_sent"] == last["bytes_received"] > 0
    assert last["bytes_sent"] == first["bytes_received"] > 0
    assert first["peer"] != last["peer"]


def check_credits(found: dict[str, Any]) -> None:
    assert found["supply"] == 1_000 * MICRO
    assert found["invoiced"] == found["receipted"] == found["paid"] > 0
    assert found["heads_equal"] is True
    assert len(found["genesis"]) == 64


def sha256(model: Path) -> str:
    return children.sha256_of(model / "model.safetensors")


@pytest.mark.slow
@pytest.mark.net
@pytest.mark.heavy
def test_a_demo_with_a_flipped_bit_says_so_and_fails(folder: Path) -> None:
    with run_demo(folder, "--fault", "flip:1:2", "--keep", str(folder / "kept")) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    score = json.loads(out.splitlines()[-1])
    assert (score["state"], score["bit_identical"], score["orphans"]) == ("done", False, 0)
    assert score["weights_sha256"] != score["reference_sha256"]
    assert sorted(path.name for path in (folder / "kept").iterdir()) == ["demo.toml", "model", "nodes", "reference"]


@pytest.mark.slow
@pytest.mark.net
@pytest.mark.heavy
def test_a_demo_that_is_told_to_end_takes_its_daemons_with_it(folder: Path) -> None:
    with run_demo(folder) as process:
        demo = psutil.Process(process.pid)
        family = until(lambda: len(family := demo.children(recursive=True)) > 3 and family, 60)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert list(folder.iterdir()) == []
