"""The few styles everything is drawn with: the terminal's own colours, so that any theme stays readable."""

from __future__ import annotations

ACCENT = "cyan"
STRONG = "bold"
DIM = "bright_black"
GOOD = "green"
WARN = "yellow"
BAD = "red"
SPECIAL = "magenta"

STATE_STYLES = {
    "preparing": WARN,
    "recruiting": WARN,
    "probing": WARN,
    "loading": WARN,
    "funding": WARN,
    "training": GOOD,
    "recovering": WARN,
    "gathering": ACCENT,
    "done": GOOD,
    "failed": BAD,
    "stopped": SPECIAL,
}
STATE_MARKS = {"done": "✔", "failed": "✘", "stopped": "■"}
LEVEL_STYLES = {"info": DIM, "warning": WARN, "error": BAD}


def state_style(state: str) -> str:
    """The colour of a run's state."""
    return STATE_STYLES.get(state, DIM)


def state_mark(state: str) -> str:
    """The sign before a run's state."""
    return STATE_MARKS.get(state, "●")


def busy_style(share: float, slowest: bool = False) -> str:
    """The colour of a busy bar: the slowest stage stands out, an idle one fades."""
    if slowest:
        return BAD
    return GOOD if share >= 0.5 else WARN if share >= 0.2 else DIM
