"""PostgreSQL arrays in their binary form, built in one pass; psycopg's own list adaptation costs several times as much.

Each class is a query parameter: `Int8s([1, 2, None])` is sent as `bigint[]`. Layout: PostgreSQL's array_recv.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from struct import Struct
from typing import Any, ClassVar

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = Struct("!iiIii").pack
_EMPTY = Struct("!iiI").pack
_INT4 = Struct("!i").pack
_INT8 = Struct("!q").pack
_FLOAT = Struct("!d").pack
_NULL = _INT4(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)


class Array:
    """Values of one PostgreSQL type; None is NULL."""

    __slots__ = ("sent",)
    oid: ClassVar[int]
    array_oid: ClassVar[int]

    def __init__(self, values: Iterable[Any]) -> None:
        encode, count, parts = self.encode, 0, [b""]
        for value in values:
            count += 1
            if value is None:
                parts.append(_NULL)
            else:
                one = encode(value)
                parts.append(_INT4(len(one)))
                parts.append(one)
        parts[0] = _HEAD(1, 1, self.oid, count, 1) if count else _EMPTY(0, 0, self.oid)
        self.sent = b"".join(parts)

    @staticmethod
    def encode(value: Any) -> bytes:
        """Return one value in PostgreSQL's binary form."""
        raise NotImplementedError


class Bools(Array):
    """A boolean[]."""

    oid, array_oid = 16, 1000

    @staticmethod
    def encode(value: bool) -> bytes:
        return b"\x01" if value else b"\x00"


class Blobs(Array):
    """A bytea[]."""

    oid, array_oid = 17, 1001

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value


class Int4s(Array):
    """An integer[]."""

    oid, array_oid = 23, 1007

    @staticmethod
    def encode(value: int) -> bytes:
        return _INT4(value)


class Int8s(Array):
    """A bigint[]."""

    oid, array_oid = 20, 1016

    @staticmethod
    def encode(value: int) -> bytes:
        return _INT8(value)


class Floats(Array):
    """A double precision[]."""

    oid, array_oid = 701, 1022

    @staticmethod
    def encode(value: float) -> bytes:
        return _FLOAT(value)


class Texts(Array):
    """A text[]."""

    oid, array_oid = 25, 1009

    @staticmethod
    def encode(value: str) -> bytes:
        return value.encode()


class Uuids(Array):
    """A uuid[]."""

    oid, array_oid = 2950, 2951

    @staticmethod
    def encode(value: Any) -> bytes:
        return bytes(value.bytes)


class Dates(Array):
    """A date[]."""

    oid, array_oid = 1082, 1182

    @staticmethod
    def encode(value: date) -> bytes:
        return _INT4(value.toordinal() - _EPOCH_DAY)


class Times(Array):
    """A timestamptz[]."""

    oid, array_oid = 1184, 1185

    @staticmethod
    def encode(value: datetime) -> bytes:
        return _INT8((value - _EPOCH) // _MICROSECOND)


class Jsonbs(Array):
    """A jsonb[], from JSON bytes."""

    oid, array_oid = 3802, 3807

    @staticmethod
    def encode(value: bytes) -> bytes:
        return b"\x01" + value


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
