"""What the hash table keeps: records that our own check accepts, the newest of each key."""

from __future__ import annotations

from libp2p.records.validator import Validator

from swarmd.net.counters import Counters
from swarmd.net.host.stores import LARGEST_RECORD
from swarmd.net.transport import RecordCheck
from swarmd.protocols.errors import ProtocolViolation


class CheckedRecord(Validator):  # type: ignore[misc]
    """The library's own signature is not tied to the key: anybody could replace anybody's record."""

    def __init__(self, check: RecordCheck, counters: Counters) -> None:
        self._check = check
        self._counters = counters

    def validate(self, key: str, value: bytes) -> None:
        """Raises ProtocolViolation for a record that must not be kept or passed on."""
        self.sequence(key, value)

    def select(self, key: str, values: list[bytes]) -> int:
        """The place of the newest; of equals the first, but a repeat of it is acknowledged."""
        sequences = [self._sequence_or_none(key, value) for value in values]
        best = max(range(len(values)), key=lambda place: (sequences[place], -place))
        return max(place for place, value in enumerate(values) if value == values[best])

    def sequence(self, key: str, value: bytes) -> int:
        """The record's sequence number. Raises ProtocolViolation, and counts it."""
        try:
            if len(value) > LARGEST_RECORD:
                raise ProtocolViolation(f"a record is larger than {LARGEST_RECORD} bytes")
            return self._check(key, value)
        except ProtocolViolation:
            self._counters.add("records_refused")
            raise

    def newest(self, key: str, values: list[bytes]) -> bytes | None:
        """The value with the highest sequence number, leaving out those that fail the check."""
        valid = [value for value in values if self._sequence_or_none(key, value) >= 0]
        return max(valid, key=lambda value: self._sequence_or_none(key, value), default=None)

    def _sequence_or_none(self, key: str, value: bytes) -> int:
        try:
            return self._check(key, value)
        except ProtocolViolation:
            return -1
