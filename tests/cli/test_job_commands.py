"""train, jobs, sample, eval, demo."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmd.cli.job_commands import complete_run
from swarmd.paths import Paths
from swarmd.protocols.control import HostedView, RunView, as_json
from swarmd.protocols.errors import JobFileError, NotFound
from tests.cli import snapshots
from tests.cli.conftest import Became, Cli
from tests.cli.fake_daemon import FakeDaemon, watched
from tests.cli.snapshots import PEERS, RUN

pytestmark = pytest.mark.net
SHORT = snapshots.RUN[:8]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job file that the parser takes."""
    file = tmp_path / "job.toml"
    file.write_text('name = "tiny-stories"\n')
    monkeypatch.setattr("swarmd.protocols.jobfile.parse_job", lambda text, path: None)
    return file


@pytest.fixture
def trained(daemon: FakeDaemon, tmp_path: Path) -> RunView:
    """A run whose model is on the disk."""
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    view = replace(snapshots.done(), directory=str(model.parent), weights_sha256=digest)
    daemon.answers["job"] = lambda _: as_json(view)
    return view


def test_train_submits_the_absolute_path_and_prints_the_run(
    cli: Cli, daemon: FakeDaemon, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(job.parent)
    said = cli("train", "job.toml")
    assert (said.code, said.out) == (0, snapshots.RUN + "\n")
    assert f"swarmd top {SHORT}" in said.err
    assert daemon.asked == [("submit", {"path": str(job)})]
    assert json.loads(cli("train", str(job), "--json").out) == {"v": 1, "run": snapshots.RUN}


def test_train_resume_asks_the_daemon_to_go_on(cli: Cli, daemon: FakeDaemon) -> None:
    assert cli("train", "--resume", "7666").out == snapshots.RUN + "\n"
    assert daemon.asked == [("resume", {"run": "7666"})]


def test_every_mistake_of_a_job_file_is_listed_without_a_daemon(
    cli: Cli, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(text: str, path: str) -> None:
        raise JobFileError(path, ("model.layers: 0 is too few", "data: missing"))

    monkeypatch.setattr("swarmd.protocols.jobfile.parse_job", refuse)
    said = cli("train", str(job))
    assert said.code == 2
    assert "2 mistakes:\n  - model.layers: 0 is too few\n  - data: missing\n" in said.err
    assert f"correct {job} and try again" in said.err
    error = json.loads(cli("train", str(job), "--json").out)["error"]
    assert error["problems"] == ["model.layers: 0 is too few", "data: missing"]


def test_a_real_job_file_with_mistakes(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text("this is not TOML")
    said = cli("train", str(file))
    assert said.code == 2
    assert "the job file has a mistake:" in said.err


def test_files_that_are_no_job_files(cli: Cli, tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.toml", tmp_path / "large.toml"
    binary.write_bytes(b"\xff\xfe")
    large.write_bytes(b"#" * (1 << 20) + b"\n")
    assert cli("train", str(tmp_path / "none.toml")).code == 6
    assert f"{binary}:1: the file is UTF-16" in cli("train", str(binary)).err
    assert "not a job file" in cli("train", str(large)).err
    assert cli("train", str(tmp_path)).code == 2


def test_a_job_file_that_is_not_utf8_is_told_with_its_line(cli: Cli, tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "x"\n# caf\xe9\n'.encode("latin-1"))
    said = cli("train", str(latin))
    assert said.code == 2
    assert f"{latin}:2: byte 0xe9 is not UTF-8" in said.err


def test_a_job_file_with_a_byte_order_mark_is_taken(cli: Cli, daemon: FakeDaemon, tmp_path: Path) -> None:
    marked = tmp_path / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf[data]\nembedded = true\n")
    assert cli("train", str(marked)).code == 0


def test_train_local_becomes_the_plain_loop(cli: Cli, job: Path, became: type[Became]) -> None:
    out = str(job.parent / "result")
    with pytest.raises(became) as caught:
        cli("train", str(job), "--local", "--out", out, "--json")
    arguments = ["swarmd.train", "local", str(job), f"--out={out}", "--json"]
    assert caught.value.command == [sys.executable, "-P", "-m", *arguments]


def test_train_local_does_not_replace_a_result_unless_forced(cli: Cli, job: Path, became: type[Became]) -> None:
    out = job.parent / "result"
    out.mkdir()
    (out / "spec.json").write_text("{}")
    refused = cli("train", str(job), "--local", "--out", str(out))
    assert refused.code == 2
    assert "--force" in refused.err
    with pytest.raises(became) as caught:
        cli("train", str(job), "--local", "--out", str(out), "--force")
    assert "--force" in caught.value.command
    assert "--force goes with --local" in cli("train", str(job), "--force").err


def test_wait_prints_plain_lines_and_a_summary(cli: Cli, daemon: FakeDaemon, job: Path) -> None:
    daemon.answers["watch"] = lambda _: watched(
        None,
        snapshots.preparing(),
        replace(snapshots.training(), step=0, loss=None),
        snapshots.training(),
        snapshots.training(),
        snapshots.done(),
    )
    said = cli("train", str(job), "--wait")
    assert (said.code, said.out) == (0, snapshots.RUN + "\n")
    lines = said.err.splitlines()
    figures = "loss 2.3412  12,342 tok/s  6m52s left"
    assert lines[:4] == ["probing", "training step 0/1000", f"training step 240/1000 {figures}", "done"]
    assert "held out" in said.err
    assert f'swarmd sample {SHORT} "Once upon a time"' in said.err
    assert daemon.asked[-1] == ("watch", {"run": snapshots.RUN, "every": 1.0})


def test_wait_on_a_run_that_fails_exits_with_4_and_says_how_to_go_on(cli: Cli, daemon: FakeDaemon, job: Path) -> None:
    daemon.answers["watch"] = lambda _: watched(snapshots.failed())
    said = cli("train", str(job), "--wait")
    assert said.code == 4
    assert "stage 1 was lost" in said.err
    assert f"swarmd train --resume {SHORT}   goes on from step 200" in said.err


def test_wait_on_a_refused_run_exits_with_5_and_offers_no_resume(cli: Cli, daemon: FakeDaemon, job: Path) -> None:
    refused = replace(snapshots.failed(), code="refused", reason="nobody takes it", checkpoint=None)
    daemon.answers["watch"] = lambda _: watched(refused)
    said = cli("train", str(job), "--wait")
    assert said.code == 5
    assert "--resume" not in said.err
    assert f"swarmd jobs logs {SHORT}" in said.err


def test_the_files_of_a_finished_run_are_its_models(cli: Cli, daemon: FakeDaemon) -> None:
    assert f"runs/{snapshots.RUN}/model\n" in cli("jobs", "show", SHORT).out
    daemon.answers["job"] = lambda _: as_json(snapshots.failed())
    assert f"runs/{snapshots.RUN}\n" in cli("jobs", "show", SHORT).out


def test_wait_on_a_run_that_is_stopped_exits_with_4(cli: Cli, daemon: FakeDaemon, job: Path) -> None:
    stopped = replace(snapshots.failed(), state="stopped", reason="by its owner", checkpoint=None)
    daemon.answers["watch"] = lambda _: watched(stopped)
    said = cli("train", str(job), "--watch")
    assert said.code == 4
    assert "goes on from the start" in said.err


def test_wait_as_json_is_a_line_per_update(cli: Cli, daemon: FakeDaemon, job: Path) -> None:
    said = cli("train", str(job), "--wait", "--json")
    submitted, progress, done, final = map(json.loads, said.out.splitlines())
    assert (submitted["event"], submitted["run"]) == ("submitted", snapshots.RUN)
    assert (progress["event"], progress["step"], progress["loss"]) == ("progress", 240, 2.3412)
    assert done["state"] == "done"
    assert (final["event"], final["view"]["weights_sha256"]) == ("final", "ab" * 32)
    assert said.err == ""


def test_wait_when_the_daemon_goes_first(cli: Cli, daemon: FakeDaemon, job: Path) -> None:
    daemon.answers["watch"] = lambda _: watched(snapshots.training())
    said = cli("train", str(job), "--wait")
    assert said.code == 3
    assert "went away before the run's end" in said.err


def test_an_interrupt_leaves_the_run_going(
    cli: Cli, daemon: FakeDaemon, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[dict[str, Any]]:
        raise KeyboardInterrupt
        yield {}

    monkeypatch.setattr("swarmd.cli.wait.stream", interrupted)
    said = cli("train", str(job), "--wait")
    assert said.code == 130
    assert "the run goes on" in said.err
    assert f"swarmd jobs stop {SHORT}" in said.err


def test_jobs_ls(cli: Cli, daemon: FakeDaemon) -> None:
    out = cli("jobs", "ls").out
    for text in (SHORT, "tiny-stories", "done", "1,000 / 1,000", "1.9123"):
        assert text in out
    assert json.loads(cli("jobs", "ls", "--json").out)["jobs"][0]["run"] == snapshots.RUN
    daemon.answers["jobs"] = lambda _: {"jobs": [], "hosted": []}
    assert "no runs yet" in cli("jobs", "ls").err


def test_jobs_show(cli: Cli, daemon: FakeDaemon) -> None:
    out = cli("jobs", "show", SHORT).out
    for text in (snapshots.RUN, "held out", "sha256 abab", "most memory", "7.34 M"):
        assert text in out
    assert daemon.asked == [("job", {"run": SHORT}), ("invoice", {"run": snapshots.RUN})]
    assert json.loads(cli("jobs", "show", SHORT, "--json").out)["state"] == "done"


def test_jobs_show_of_a_run_that_has_just_begun(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["job"] = lambda _: as_json(snapshots.preparing())
    out = cli("jobs", "show", SHORT).out
    assert "probing" in out
    assert "none yet" in out


def test_jobs_logs(cli: Cli, daemon: FakeDaemon) -> None:
    lines = cli("jobs", "logs", SHORT).out.splitlines()
    assert lines[0] == "14:13:20 recruited attic, study, cellar"
    assert lines[3] == "14:14:20 warning: study fell silent for 1.2 s"
    assert daemon.asked == [("logs", {"run": SHORT, "follow": False})]
    objects = [json.loads(line) for line in cli("jobs", "logs", SHORT, "-f", "--json").out.splitlines()]
    assert objects[3]["level"] == "warning"
    assert daemon.asked[-1][1]["follow"] is True


def test_jobs_stop_without_a_terminal_does_not_ask(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("jobs", "stop", SHORT)
    assert said.code == 0
    assert f"swarmd train --resume {SHORT}" in said.err
    assert daemon.asked[-1] == ("stop", {"run": snapshots.RUN})
    assert json.loads(cli("jobs", "stop", SHORT, "--json").out)["run"] == snapshots.RUN


class Typed(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "asked"), [("n\n", 0, "job"), ("y\n", 0, "stop"), ("", 130, "job")])
def test_jobs_stop_asks_on_a_terminal(
    cli: Cli, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, asked: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(typed))
    said = cli("jobs", "stop", SHORT)
    assert (said.code, daemon.asked[-1][0]) == (code, asked)
    assert "stop tiny-stories" in said.err


def test_jobs_fetch_copies_the_model_and_checks_its_hash(cli: Cli, trained: RunView, tmp_path: Path) -> None:
    to = tmp_path / "a" / "copy"
    said = cli("jobs", "fetch", SHORT, str(to))
    assert (said.code, said.out) == (0, f"{to}\n")
    assert (to / "model.safetensors").read_bytes() == b"weights"
    assert [path.name for path in to.parent.iterdir()] == ["copy"]


def test_jobs_fetch_does_not_overwrite_unless_forced(cli: Cli, trained: RunView, tmp_path: Path) -> None:
    to = tmp_path / "copy"
    to.mkdir()
    (to / "precious").write_text("")
    refused = cli("jobs", "fetch", SHORT, str(to))
    assert refused.code == 2
    assert "--force" in refused.err
    assert (to / "precious").exists()
    forced = cli("jobs", "fetch", SHORT, str(to), "--force", "--json")
    assert json.loads(forced.out)["files"] == ["config.json", "model.safetensors"]
    assert not (to / "precious").exists()


def test_jobs_fetch_of_changed_weights_leaves_nothing(cli: Cli, trained: RunView, tmp_path: Path) -> None:
    (Path(trained.directory) / "model" / "model.safetensors").write_bytes(b"other")
    said = cli("jobs", "fetch", SHORT, str(tmp_path / "copy"))
    assert said.code == 1
    assert "hashes to" in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_jobs_fetch_of_a_run_without_a_recorded_hash(
    cli: Cli, daemon: FakeDaemon, trained: RunView, tmp_path: Path
) -> None:
    daemon.answers["job"] = lambda _: as_json(replace(trained, weights_sha256=None))
    assert cli("jobs", "fetch", SHORT, str(tmp_path / "copy")).code == 0


def test_jobs_fetch_before_there_is_a_model(cli: Cli, daemon: FakeDaemon, tmp_path: Path) -> None:
    said = cli("jobs", "fetch", SHORT, str(tmp_path / "copy"))
    assert said.code == 6
    assert "no model yet" in said.err


def test_sample_of_a_run_uses_its_model(cli: Cli, trained: RunView, became: type[Became]) -> None:
    with pytest.raises(became) as caught:
        cli("sample", SHORT, "Once", "--tokens", "9", "--temperature", "0", "--top-k", "3", "--seed", "4")
    options = ["--tokens=9", "--temperature=0.0", "--top-k=3", "--seed=4"]
    folder = f"{trained.directory}/model"
    assert caught.value.command[3:] == ["swarmd.train", "sample", *options, "--", folder, "Once"]


def test_eval_of_a_folder_needs_no_daemon(cli: Cli, tmp_path: Path, became: type[Became]) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(became) as inner:
        cli("eval", str(tmp_path), "--json")
    assert inner.value.command[3:] == ["swarmd.train", "eval", "--json", "--", str(tmp_path / "model")]
    with pytest.raises(became) as direct:
        cli("eval", str(tmp_path / "model"))
    assert direct.value.command[-1] == str(tmp_path / "model")


def test_sample_of_an_unknown_run_or_one_without_a_model(cli: Cli, daemon: FakeDaemon) -> None:
    assert cli("sample", SHORT, "Once").code == 6

    def unknown(_: object) -> dict[str, Any]:
        raise NotFound("no run begins with zz", hint="swarmd jobs ls")

    daemon.answers["job"] = unknown
    said = cli("sample", "zz", "Once")
    assert said.code == 6
    assert "no run begins with zz" in said.err


def test_demo_becomes_the_demo(cli: Cli, became: type[Became]) -> None:
    with pytest.raises(became) as caught:
        cli("demo", "--nodes", "4", "--steps", "20", "--keep", "d", "--job", "j.toml", "--json")
    flags = ["--nodes=4", "--steps=20", "--keep=d", "--job=j.toml", "--json"]
    assert caught.value.command[3:] == ["swarmd.cli.demo", *flags]
    with pytest.raises(became) as plain:
        cli("demo")
    assert plain.value.command[3:] == ["swarmd.cli.demo"]


def test_the_tab_key_offers_runs(daemon: FakeDaemon, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer.main

    from swarmd.cli.app import app

    monkeypatch.setenv("SWARMD_STATE_DIR", str(paths.state_dir))
    context = typer.main.get_command(app).make_context("swarmd", [], resilient_parsing=True)
    assert complete_run(context, "7") == [(SHORT, "tiny-stories done")]
    assert complete_run(context, "z") == []
    monkeypatch.setenv("SWARMD_STATE_DIR", str(paths.state_dir / "none"))
    assert complete_run(context, "7") == []


def test_jobs_ls_shows_the_runs_of_others_that_this_node_works_for(cli: Cli, daemon: FakeDaemon) -> None:
    view = HostedView(run=RUN, submitter=PEERS[1], stage="trains stage 1", lane=3)
    daemon.answers["jobs"] = lambda _: {"jobs": [], "hosted": [as_json(view)]}
    said = cli("jobs", "ls")
    assert said.out.splitlines()[1].split() == [RUN[:8], PEERS[1][-8:], "trains", "stage", "1", "3"]
    assert "no runs yet" not in said.err


def test_a_run_that_failed_says_how_to_go_on(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["job"] = lambda _: as_json(snapshots.failed())
    assert f"swarmd train --resume {RUN[:8]}" in cli("jobs", "show", RUN[:8]).err


def test_a_job_file_that_is_not_there_names_one_that_is(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("")
    said = cli("jobs", "estimate", str(tmp_path / "smal.toml"))
    assert (said.code, f"next: swarmd jobs estimate {tmp_path}/small.toml" in said.err) == (6, True)
    assert "swarmd train JOB.toml takes a job file" in cli("train", "/nowhere/job.toml").err
