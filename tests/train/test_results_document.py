"""docs/results.md says what is in a result's folder, and its programs run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from swarmd.train.__main__ import main

DOCUMENT = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def result(tiny_run, tmp_path, monkeypatch):
    """The folder of a run of the plain loop, called DIR as in the document."""
    (tmp_path / "run.spec").write_bytes(tiny_run.spec.to_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["local", "run.spec", f"--blobs={tiny_run.blobs.root}", "--out=DIR"]) == 0
    return tmp_path / "DIR"


@pytest.mark.slow
def test_the_table_names_every_file(result):
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)
    }
    assert named == {path.name for path in result.iterdir()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_loss_of_the_document_is_the_recorded_one(result, capsys):
    capsys.readouterr()
    exec(PROGRAMS[1], {})
    again, recorded = map(float, capsys.readouterr().out.split())
    assert np.isclose(again, recorded, rtol=0, atol=1e-6)


def test_the_program_that_computes_the_loss_has_ten_lines_or_less():
    body = [line for line in PROGRAMS[1].splitlines() if line and not line.startswith(("import", "from"))]
    assert len(body) <= 10
