"""Frozen dataclasses as canonical values: a record is the tuple of its fields, in their order.

A record whose class has a ``TAG`` puts it first: a field that is a union of such classes is read by it.
Reading is strict: every field must be there, nothing may follow, and each must have exactly its
declared type. Ranges are checked by the record's own ``__post_init__``, which raises ValueError.

A class may get a last field later without new bytes for old records: marked ``ADDED``, it is left out while it has its
default.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from swarmd.protocols.canonical import Value
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, EntryId, NetworkId, RunId, SpecId, is_hash

T = TypeVar("T")

ADDED = types.MappingProxyType({"added": True})
"""Metadata of such a last field."""

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
    later = _added(cast("Any", kind))
    if later and isinstance(value, tuple) and len(value) == len(hints) - 1:
        return _made(kind, hints, (*value, cast("Value", later.default)))
    if not isinstance(value, tuple) or len(value) != len(hints):
        raise ProtocolViolation(f"{kind.__name__} has {len(hints)} fields")
    if later and value[-1] == later.default:
        raise ProtocolViolation(f"{kind.__name__}.{later.name} is written only when it has another value than usual")
    return _made(kind, hints, value)


def _made(kind: type[T], hints: dict[str, Any], value: tuple[Value, ...]) -> T:
    parts = {
        name: _read(hint, part, f"{kind.__name__}.{name}")
        for (name, hint), part in zip(hints.items(), value, strict=True)
    }
    try:
        return kind(**parts)
    except ValueError as error:
        raise ProtocolViolation(f"{kind.__name__}: {error}") from error


def _tag(kind: type[Any]) -> str:
    return getattr(kind, "TAG", "")


@cache
def _added(kind: type[Any]) -> Field[Any] | None:
    last = fields(kind)[-1:]
    return last[0] if last and "added" in last[0].metadata else None


def _parts(item: Any) -> Iterator[object]:  # noqa: ANN401 - any dataclass
    later = _added(cast("Any", type(item)))
    for field in fields(item):
        value = getattr(item, field.name)
        if field is not later or value != field.default:
            yield value


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
