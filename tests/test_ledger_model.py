"""The model of the ledger's rules: no schedule breaks them, and every rule that is taken away is missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parent.parent / "tools" / "ledger_model"


@pytest.mark.slow
@pytest.mark.heavy
def test_the_ledgers_rules_hold_in_the_model_and_each_is_needed():
    run = subprocess.run([sys.executable, MODEL], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "VIOLATION" not in run.stdout
    assert run.stdout.count(": caught") == 17
