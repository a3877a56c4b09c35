"""Which messages a protocol has, and their bytes: (type name, record), canonical.

A message is a frozen dataclass. A receiver constructs only what was registered, from fields of exactly
the declared types; every other name is refused with the name.
"""

from __future__ import annotations

from typing import Any

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.framing import MAX_MESSAGE_BYTES
from swarmd.protocols.records import from_value, to_value


class Registry:
    """The messages of one protocol, by type name."""

    def __init__(self, *kinds: type[Any]) -> None:
        """Raises ValueError if two types share a name."""
        self._kinds = {kind.__name__: kind for kind in kinds}
        if len(self._kinds) != len(kinds):
            raise ValueError("two message types share a name")

    def encode(self, message: object) -> bytes:
        """The wire form of a message. Raises TypeError for a type that is not registered."""
        name = type(message).__name__
        if self._kinds.get(name) is not type(message):
            raise TypeError(f"{name} is not a message of this protocol")
        return encode((name, to_value(message)))

    def decode(self, raw: bytes, limit: int = MAX_MESSAGE_BYTES) -> Any:  # noqa: ANN401 - one of the kinds
        """The message in ``raw``.

        Raises:
            ProtocolViolation: over ``limit`` bytes, not canonical, of an unknown type, or with a wrong field.
        """
        match decode(raw, limit=limit):
            case (str(name), record) if name in self._kinds:
                return from_value(self._kinds[name], record)
            case (str(name), _):
                raise ProtocolViolation(f"no message of this protocol is named {name[:64]!r}")
            case _:
                raise ProtocolViolation("not a message: neither a name nor a record")
