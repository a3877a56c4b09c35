"""Print what pyproject.toml asks for, but torch: the input of ``make lock``."""

from __future__ import annotations

import tomllib
from pathlib import Path


def wanted(pyproject: str) -> list[str]:
    """Every requirement of the runtime, the development tools and the build, but torch itself."""
    table = tomllib.loads(pyproject)
    project = table["project"]
    every = [
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *table["build-system"]["requires"],
    ]
    return [requirement for requirement in every if not requirement.startswith("torch==")]


if __name__ == "__main__":
    print("\n".join(wanted(Path("pyproject.toml").read_text(encoding="utf-8"))))
