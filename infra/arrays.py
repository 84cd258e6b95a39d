"""PostgreSQL arrays in their binary form, built in one pass; psycopg's own list adaptation costs several times as much.

Each class is a query parameter: `Int8s([1, 2, None])` is sent as `bigint[]`. Layout: PostgreSQL's array_recv.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from struct import Struct
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = Struct("!iiIii").pack
_EMPTY = Struct("!iiI").pack
_LENGTH = Struct("!i").pack
_INT4 = Struct("!ii").pack
_INT8 = Struct("!iq").pack
_FLOAT = Struct("!id").pack
_NULL = _LENGTH(-1)
_SIXTEEN = _LENGTH(16)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)


class Array:
    """Values of one PostgreSQL type; None is NULL."""

    __slots__ = ("sent",)
    oid: ClassVar[int]
    array_oid: ClassVar[int]

    def __init__(self, values: Iterable[Any]) -> None:
        element = self.element
        elements = [_NULL if value is None else element(value) for value in values]
        head = _HEAD(1, 1, self.oid, len(elements), 1) if elements else _EMPTY(0, 0, self.oid)
        self.sent = head + b"".join(elements)

    @staticmethod
    def element(value: Any) -> bytes:
        """Return one value behind its length, in PostgreSQL's binary form."""
        raise NotImplementedError


class Bools(Array):
    """A boolean[]."""

    oid, array_oid = 16, 1000

    @staticmethod
    def element(value: bool) -> bytes:
        return b"\0\0\0\x01\x01" if value else b"\0\0\0\x01\x00"


class Blobs(Array):
    """A bytea[]."""

    oid, array_oid = 17, 1001

    @staticmethod
    def element(value: bytes) -> bytes:
        return _LENGTH(len(value)) + value


class Int4s(Array):
    """An integer[]."""

    oid, array_oid = 23, 1007

    @staticmethod
    def element(value: int) -> bytes:
        return _INT4(4, value)


class Int8s(Array):
    """A bigint[]."""

    oid, array_oid = 20, 1016

    @staticmethod
    def element(value: int) -> bytes:
        return _INT8(8, value)


class Floats(Array):
    """A double precision[]."""

    oid, array_oid = 701, 1022

    @staticmethod
    def element(value: float) -> bytes:
        return _FLOAT(8, value)


class Texts(Array):
    """A text[]."""

    oid, array_oid = 25, 1009

    @staticmethod
    def element(value: str) -> bytes:
        text = value.encode()
        return _LENGTH(len(text)) + text


class Uuids(Array):
    """A uuid[], from UUIDs or their 16 bytes."""

    oid, array_oid = 2950, 2951

    @staticmethod
    def element(value: UUID | bytes) -> bytes:
        return _SIXTEEN + (value if isinstance(value, bytes) else value.bytes)


class Dates(Array):
    """A date[]."""

    oid, array_oid = 1082, 1182

    @staticmethod
    def element(value: date) -> bytes:
        return _INT4(4, value.toordinal() - _EPOCH_DAY)


class Times(Array):
    """A timestamptz[]."""

    oid, array_oid = 1184, 1185

    @staticmethod
    def element(value: datetime) -> bytes:
        return _INT8(8, (value - _EPOCH) // _MICROSECOND)


class Jsonbs(Array):
    """A jsonb[], from JSON bytes."""

    oid, array_oid = 3802, 3807

    @staticmethod
    def element(value: bytes) -> bytes:
        return _LENGTH(len(value) + 1) + b"\x01" + value


def _dumper(array: type[Array]) -> type[Dumper]:
    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = array.array_oid

        def dump(self, obj: Array) -> Buffer:
            return obj.sent

    return ArrayDumper


_DUMPERS = {array: _dumper(array) for array in (Bools, Blobs, Int4s, Int8s, Floats, Texts, Uuids, Dates, Times, Jsonbs)}


def register(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Teach a connection to send these arrays."""
    for array, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(array, dumper)
