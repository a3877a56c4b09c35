"""The frame holds: layers, locks, container and documents say what the code says."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
FOR_THE_CLI = {"cli", "protocols", "paths", "config"}


def modules() -> set[str]:
    """Every module and package directly in swarmd."""
    files = (path for path in (ROOT / "swarmd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
    return {path.stem for path in files} - {"__init__"}


def names(path: str) -> set[str]:
    """Packages that a requirements file pins."""
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / path).read_text(), re.MULTILINE))


class TestLayers:
    def test_every_module_stands_in_a_layer(self):
        layers = {name.strip() for layer in CONTRACTS["layers"]["layers"] for name in layer.split(":")}
        assert layers == modules()

    def test_every_module_but_the_shared_ones_is_kept_from_the_cli(self):
        assert set(CONTRACTS["cli"]["forbidden_modules"]) == {f"swarmd.{name}" for name in modules() - FOR_THE_CLI}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("contract", "file", "line"),
        [
            ("layers", "protocols/ids.py", "import swarmd.scheduler.flow"),
            ("layers", "scheduler/flow.py", "import swarmd.paths"),
            ("layers", "swarmd/node.py", "import swarmd.cli.main"),
            ("layers", "swarmd/unlisted.py", "import swarmd.paths"),
            ("pure", "protocols/ids.py", "import trio"),
            ("pure", "scheduler/flow.py", "import numpy"),
            ("libp2p", "swarmd/node.py", "import multiaddr"),
            ("libp2p", "swarmd/net/rpc.py", "from libp2p.peer.id import ID"),
            ("torch", "swarmd/paths.py", "import torch"),
            ("daemon", "swarmd/node.py", "import swarmd.train.model"),
            ("cli", "cli/main.py", "import swarmd.storage"),
            ("cli", "cli/main.py", "from swarmd.scheduler import flow"),
            ("thin", "cli/main.py", "import torch"),
            ("thin", "swarmd/paths.py", "import trio"),
        ],
    )
    def test_a_planted_violation_is_found(self, tmp_path, contract, file, line):
        tree = copy_of_the_code(tmp_path)
        assert lint(tree, contract).returncode == 0
        with (tree / file).open("a") as planted:
            planted.write(f"\n{line}\n")
        assert lint(tree, contract).returncode == 1

    def test_protocols_and_scheduler_need_few_libraries(self):
        assert imported("protocols") <= {"swarmd", "msgpack", "cryptography", "blake3", "base58"}
        assert imported("scheduler") <= {"swarmd"}


def copy_of_the_code(place: Path) -> Path:
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("swarmd", "protocols", "scheduler", "cli"):
        shutil.copytree(ROOT / folder, place / folder, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def lint(tree: Path, contract: str) -> subprocess.CompletedProcess[bytes]:
    """import-linter on a tree of its own; the interpreter's path must not lead back to this one."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [*command, "--contract", contract],
        cwd=tree,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def imported(folder: str) -> set[str]:
    """Top-level packages outside the standard library that a folder imports."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


class TestLocks:
    def test_every_requirement_is_pinned_in_one_of_the_two_files(self):
        project = PYPROJECT["project"]
        wanted = [
            *project["dependencies"],
            *project["optional-dependencies"]["dev"],
            *PYPROJECT["build-system"]["requires"],
        ]
        asked = {re.match(r"[A-Za-z0-9-]+", requirement)[0].lower() for requirement in wanted}
        torch, rest = names("requirements/torch.txt"), names("requirements/lock.txt")
        assert asked <= torch | rest
        assert not torch & rest
        assert "torch" in torch

    def test_every_line_of_the_lock_is_hashed(self):
        lock = (ROOT / "requirements/lock.txt").read_text().replace("\\\n", " ")
        lines = [line for line in lock.splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[a-z0-9-]+==\S+( +--hash=sha256:[0-9a-f]{64})+ *", line) for line in lines)

    @pytest.mark.parametrize("file", ["requirements/torch.txt", "requirements/lock.txt"])
    def test_no_index_or_local_path_is_named(self, file):
        assert not re.search(r"://|^-|^/| @ ", (ROOT / file).read_text(), re.MULTILINE)


class TestContainer:
    DOCKERFILE = (ROOT / "Dockerfile").read_text()

    def test_it_installs_as_a_user_does(self):
        build = self.DOCKERFILE.split("FROM ")[1]
        runs = re.findall(r"^RUN (.*(?:\\\n.*)*)", build, re.MULTILINE)
        assert runs[-1] == "make install"
        assert not re.search(r"\bpip\b|\bvenv\b(?!\s*$)", " ".join(runs[1:]))

    def test_its_system_packages_are_those_the_preflight_names(self):
        build = self.DOCKERFILE.split("FROM ")[1]
        packages = re.search(r"--no-install-recommends (.*)", build)[1].split()
        assert packages == apt_packages_the_preflight_names()

    def test_it_runs_as_an_ordinary_user_with_state_on_a_volume(self):
        last = self.DOCKERFILE.split("FROM ")[-1]
        assert re.search(r"^USER swarmd$", last, re.MULTILINE)
        state = re.search(r"SWARMD_STATE_DIR=(\S+)", last)[1]
        assert f"VOLUME {state}\n" in last
        assert 'CMD ["swarmd", "status", "--json"]' in last


def apt_packages_the_preflight_names() -> list[str]:
    script = (ROOT / "tools/preflight.sh").read_text()
    cures = dict(re.findall(r'"apt-get (\w+)"\) echo "?([^";]*)"? ;;', script))
    text = " ".join(cures[thing] for thing in ("compiler", "gmp", "python"))
    return text.replace("$version", "3.11").split()


class TestPreflight:
    @staticmethod
    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(ROOT / "tools/preflight.sh")],
            env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @pytest.mark.slow
    def test_with_everything_here_it_prints_the_python(self):
        result = self.run()
        assert (result.returncode, result.stdout.strip(), result.stderr) == (0, sys.executable, "")

    def test_another_python_is_refused_first_of_all(self, tmp_path):
        old = tmp_path / "python"
        old.write_text("#!/bin/sh\necho 3.10\n")
        old.chmod(0o755)
        result = self.run(PYTHON=str(old))
        assert result.returncode == 1
        first, second = result.stderr.splitlines()
        assert first.endswith(f"It needs Python 3.11, 3.12 or 3.13; {old} is 3.10.")
        assert "make install PYTHON=" in second

    @pytest.mark.slow
    def test_what_is_missing_is_named_first_with_the_command_that_brings_it(self):
        result = self.run(CC="no-such-compiler")
        first, second = result.stderr.splitlines()
        assert result.returncode == 1
        assert first == "swarmd cannot be installed yet. Missing: a C compiler (no-such-compiler)"
        assert second.startswith("Install it with:")


class TestDocuments:
    @pytest.mark.parametrize(
        "path", ["CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
    )
    def test_every_file_a_document_points_to_is_there(self, path):
        text = (ROOT / path).read_text()
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        missing = [link for link in links if not ((ROOT / path).parent / link).exists()]
        code = re.findall(r"`((?:protocols|scheduler|cli|swarmd|tests|tools|docs|requirements)/[\w./-]*)`", text)
        assert missing + [name for name in code if not (ROOT / name).exists()] == []

    def test_the_map_names_every_module(self):
        text = (ROOT / "docs/architecture.md").read_text()
        assert {name for name in modules() if f"`{name}" not in text and f"swarmd/{name}" not in text} == set()
