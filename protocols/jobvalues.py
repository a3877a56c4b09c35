"""One setting of a job file: is its value of the right kind and in range, and if not, what would be?"""

from __future__ import annotations

import json
import math
from typing import cast

from swarmd.protocols.jobschema import Field, Setting
from swarmd.protocols.specrules import NAME_RULE, is_name

SHOWN = 40
MAX_PATHS = 1000
MAX_TEXT = 4096
MAX_LAYERS = 512


def show(value: object) -> str:
    """A value as TOML spells it, cut to forty characters."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, list | tuple):
        items = cast("list[object]", value)
        text = f"[{', '.join('[...]' if isinstance(item, list) else show(item) for item in items[:SHOWN])}]"
    elif isinstance(value, dict):
        text = "{...}"
    else:
        text = _number_text(value)
    return printable(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")


def printable(text: str) -> str:
    """The text without what a terminal would obey instead of show."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def read_value(field: Field, value: object) -> tuple[Setting, str | None]:
    """The setting a TOML value stands for, and what is wrong with it, or None."""
    match field.kind:
        case "int":
            return _whole(field, value)
        case "number":
            return _number(field, value)
        case "flag":
            return _flag(value)
        case "paths":
            return _paths(value)
        case "layers":
            return _layers(value)
        case _:
            return _text(field, value)


def _whole(field: Field, value: object) -> tuple[Setting, str | None]:
    if isinstance(value, bool):
        return None, "must be a whole number, not true or false"
    if isinstance(value, float) and math.isfinite(value):
        return None, f"must be a whole number; use {round(value)}"
    if isinstance(value, str) and value.strip().isdecimal():
        return None, f"must be a whole number; write {value.strip()} without quotes"
    if not isinstance(value, int):
        return None, "must be a whole number"
    allowed = field.range
    if allowed is not None and not allowed.low <= value <= allowed.high:
        nearest = allowed.low if value < allowed.low else allowed.high
        return None, f"must be {allowed.words()}; use {int(nearest)}"
    return value, None


def _number(field: Field, value: object) -> tuple[Setting, str | None]:
    if isinstance(value, bool):
        return None, "must be a number, not true or false"
    if isinstance(value, str):
        advice = f"; write {value.strip()} without quotes" if _numeric(value) else ""
        return None, f"must be a number{advice}"
    if not isinstance(value, int | float):
        return None, "must be a number"
    allowed = field.range
    if allowed is not None and not allowed.holds(value):
        usual = "" if field.default is None else f"; the default is {field.default!r}"
        return None, f"must be {allowed.words()}{usual}"
    return float(value), None


def _flag(value: object) -> tuple[Setting, str | None]:
    if isinstance(value, bool):
        return value, None
    return None, "must be true or false, without quotes"


def _text(field: Field, value: object) -> tuple[Setting, str | None]:
    if not isinstance(value, str):
        usual = f'; use "{field.choices[0]}"' if field.choices else ""
        return None, f"must be text in quotes{usual}"
    if field.choices and value not in field.choices:
        return None, f"must be {' or '.join(show(choice) for choice in field.choices)}"
    if field.key == "name" and not is_name(value):
        return None, NAME_RULE
    if not value:
        return None, "must not be empty"
    if len(value) > MAX_TEXT or "\0" in value:
        return None, f"must be at most {MAX_TEXT} characters, none of them NUL"
    return value, None


def _paths(value: object) -> tuple[Setting, str | None]:
    given = [value] if isinstance(value, str) else value
    problem = "must be a file or folder in quotes, or a list of them"
    if not isinstance(given, list) or not given:
        return None, problem
    names = cast("list[object]", given)
    if len(names) > MAX_PATHS:
        return None, f"must be at most {MAX_PATHS} names; put the files in one folder and name that"
    texts = tuple(name for name in names if isinstance(name, str) and name and "\0" not in name)
    return (texts, None) if len(texts) == len(names) else (None, problem)


def _layers(value: object) -> tuple[Setting, str | None]:
    """Sorted, because a list of places has no order of its own; twice the same is for the rules to refuse."""
    problem = "must be a list of layers, such as [2, 4, 6]: each the first one after a boundary"
    if not isinstance(value, list) or not value:
        return None, problem
    layers = cast("list[object]", value)
    whole = [layer for layer in layers if isinstance(layer, int) and not isinstance(layer, bool)]
    fitting = [layer for layer in whole if 0 < layer < MAX_LAYERS]
    if len(fitting) < len(layers) or len(layers) > MAX_LAYERS:
        return None, problem
    return tuple(sorted(fitting)), None


def _numeric(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number_text(value: object) -> str:
    return hex(value) if isinstance(value, int) and value.bit_length() > 128 else str(value)
