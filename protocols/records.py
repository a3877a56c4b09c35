"""Frozen dataclasses as canonical values: a record is the tuple of its fields, in their order.

A record whose class has a ``TAG`` puts it first: a field that is a union of such classes is read by it.
Reading is strict: every field must be there, nothing may follow, and each must have exactly its
declared type. Ranges are checked by the record's own ``__post_init__``, which raises ValueError.

A class may get last fields later without new bytes for old records: marked ``ADDED``, they are left out from the end
as long as they have their defaults.
"""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import takewhile
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from swarmd.protocols.canonical import Value
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, EntryId, NetworkId, RunId, SpecId, is_hash

T = TypeVar("T")

ADDED = types.MappingProxyType({"added": True})
"""Metadata of such a field."""

_HASHES: tuple[Any, ...] = (BlobHash, EntryId, NetworkId, RunId, SpecId)


def to_value(item: object) -> Value:
    """A record as a canonical tuple."""
    if is_dataclass(item):
        name = _tag(type(item))
        return (*((name,) if name else ()), *(to_value(part) for part in _parts(item)))
    if isinstance(item, tuple):
        return tuple(to_value(part) for part in cast("tuple[object, ...]", item))
    return cast("Value", item)


def from_value(kind: type[T], value: Value) -> T:
    """A record from its canonical tuple.

    Raises:
        ProtocolViolation: a field is missing, extra, of another type or out of range.
    """
    hints = _hints(cast("Any", kind))
    tag = _tag(kind)
    if tag and isinstance(value, tuple) and value[:1] == (tag,):
        value = value[1:]
    elif tag:
        raise ProtocolViolation(f"not a {tag}")
    added = len(_defaults(cast("Any", kind)))
    if not isinstance(value, tuple) or not len(hints) - added <= len(value) <= len(hints):
        raise ProtocolViolation(f"{kind.__name__} has {len(hints)} fields")
    parts = {
        name: _read(hint, part, f"{kind.__name__}.{name}")
        for (name, hint), part in zip(hints.items(), value, strict=not added)
    }
    try:
        made = kind(**parts)
    except ValueError as error:
        raise ProtocolViolation(f"{kind.__name__}: {error}") from error
    if added and len(_parts(made)) != len(value):
        raise ProtocolViolation(f"{kind.__name__} writes out a default that is left out")
    return made


def _parts(item: Any) -> list[object]:  # noqa: ANN401 - any record
    """A record's values as they are written: without the added fields, from the end, that have their defaults."""
    parts: list[object] = [getattr(item, each.name) for each in fields(item)]
    for default in _defaults(cast("Any", type(item))):
        if parts[-1] != default:
            break
        parts.pop()
    return parts


@cache
def _defaults(kind: type[Any]) -> tuple[object, ...]:
    """Of the fields that may be left out, the last one first."""
    return tuple(each.default for each in takewhile(lambda each: "added" in each.metadata, reversed(fields(kind))))


def _tag(kind: type[Any]) -> str:
    return getattr(kind, "TAG", "")


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _read(hint: Any, value: Value, where: str) -> Any:  # noqa: ANN401 - what the hint says
    origin = get_origin(hint)
    if hint in _HASHES:
        if isinstance(value, str) and is_hash(value):
            return value
    elif origin in (Union, types.UnionType):
        return None if value is None and type(None) in get_args(hint) else _read_union(get_args(hint), value, where)
    elif origin is tuple:
        if isinstance(value, tuple):
            return tuple(_read(get_args(hint)[0], part, where) for part in value)
    elif is_dataclass(hint):
        return from_value(cast("type[Any]", hint), value)
    elif type(value) is getattr(hint, "__supertype__", hint):
        return value
    raise ProtocolViolation(f"{where} has a value of another type")


def _read_union(kinds: tuple[Any, ...], value: Value, where: str) -> Any:  # noqa: ANN401 - one of the kinds
    """An optional value, or the one of several tagged records that the value's tag names."""
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _read(kinds[0], value, where)
    tag = value[0] if isinstance(value, tuple) and value else None
    for kind in kinds:
        if tag == kind.TAG:
            return from_value(kind, value)
    raise ProtocolViolation(f"{where} is of a kind that is not known")
