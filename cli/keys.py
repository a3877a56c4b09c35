"""Single keys from a terminal: no echo, no waiting for enter, and the terminal as it was afterwards."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_MAX_BYTES = 64
_NAMES = {"\t": "tab", "\x1b": "esc", "\x1b[Z": "shift-tab", "\r": "enter", "\n": "enter"}


@contextmanager
def key_mode(descriptor: int) -> Iterator[None]:
    """Deliver keys at once while inside; ctrl-C still interrupts."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_keys(descriptor: int) -> list[str]:
    """The keys that were typed; call it when the descriptor is readable. Empty: the terminal has gone."""
    return split_keys(os.read(descriptor, _MAX_BYTES).decode("utf-8", "ignore"))


def split_keys(text: str) -> list[str]:
    """Characters and escape sequences by name; a sequence without a name is passed over."""
    keys: list[str] = []
    while text:
        word = _sequence(text) if text.startswith("\x1b[") else text[0]
        text = text[len(word) :]
        if len(word) == 1 or word in _NAMES:
            keys.append(_NAMES.get(word, word))
    return keys


def _sequence(text: str) -> str:
    for end, character in enumerate(text[2:], 3):
        if "@" <= character <= "~":
            return text[:end]
    return text
