"""Odd things to send: bodies that were sound once, headers that nobody writes, and requests that are hardly any."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

LONG = "x" * 70_000
# What stands in the place of a value, as JSON text: some of it is none.
ODD_VALUES: Sequence[bytes] = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e-999", b"9" * 400, b"-" + b"9" * 25, b"0.1e1", b"1.0",
    b"9223372036854775808", b"-9223372036854775809", b"-0", b"-0.0", b"true", b"null", b'""', b'" "', b'"\\u0000"',
    b'"a\\u0000b"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b"[]", b"{}",
    b"[null]", b'{"a": {"a": {"a": 1}}}', b"[" * 500 + b"]" * 500, b"[" * 50_000, b'{"a":' * 5_000, b'"' + LONG.encode() + b'"',
    b'"2026-02-30"', b'"2026-11-20T25:00:00Z"', b'"0000-00-00"', b'"9999-12-31T23:59:60Z"', b'"-1"', b'"1e5"', b'"NaN"',
    b'"../../etc/passwd"', b'"\\u202e"', b'"\xf0\x9f\x9a\x9a"', b"01", b"+1", b".5", b"0x10", b"'a'", b"undefined",
)  # fmt: skip
ODD_TEXTS: Sequence[bytes] = (
    b"", b" ", b'"', b'""', b'"a', b"a" * 256, b'"' + b"a" * 256 + b'"', b'"a";b=1', b'"a", "b"', b"\xe9", b"\xff\xfe", b"\t",
    b"a\tb", b"*", b"0", b"-1", b'"1"', b'W/"1"', b'"99999999999999999999"', b'"1.x"', b"1" * 5_000, b"NaN", b"1e5",
    b"2026-11-20", b"2026-11-20T08:00:00", b"2026-11-20T08:00:00Z", b"2026-11-20T08:00:00+99:00", b"9999-12-31T23:59:59Z",
    b"0001-01-01T00:00:00Z", b"1700000000", b"soon", b"?1", b":YQ==:", b"(1 2)", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00",
    b"00-" + b"f" * 32 + b"-" + b"f" * 16 + b"-ff", b"dHJ1Y2tzLjEuMQ", b"dHJ1Y2tzLjEuLTE",
    b"dHJ1Y2tzLjk5OTk5OTk5OTk5OTk5OTk5OTk5LjE",
    b"dHJ1Y2tzLjEuOTk5OTk5OTk5OTk5OTk5OTk5OTk", b"9223372036854775808", b"1_0", "\uff11".encode(), b"%00", b"\\u0000",
)  # fmt: skip
ODD_HEADERS: Sequence[bytes] = (
    b"Idempotency-Key", b"If-Match", b"Occurred-At", b"X-Application-Name", b"X-Correlation-Id", b"Traceparent", b"Tracestate",
    b"Last-Event-ID", b"If-Position-At-Least", b"If-None-Match", b"Content-Type", b"Accept", b"Authorization", b"User-Agent",
    b"X-Request-Id", b"Origin", b"Accept-Encoding", b"Cookie", b"Range", b"X-Forwarded-For",
)  # fmt: skip
Bodies = Iterator[bytes]


def mutated(body: Any, dice: random.Random) -> bytes:
    """Return a sound body as JSON with something wrong in it; by chance it may still be sound."""
    return dice.choice(MUTATIONS)(body, dice)


def _with_odd_value(body: Any, dice: random.Random) -> bytes:
    """Put something odd in one place."""
    mark = "\x01odd\x01"
    text = json.dumps(_replaced(body, dice, mark)).encode()
    return text.replace(json.dumps(mark).encode(), dice.choice(ODD_VALUES), 1)


def _replaced(value: Any, dice: random.Random, mark: str) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        return {**value, name: _replaced(value[name], dice, mark)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        place = dice.randrange(len(value))
        return [*value[:place], _replaced(value[place], dice, mark), *value[place + 1 :]]
    return mark


def _with_odd_name(body: Any, dice: random.Random) -> bytes:
    """Add a member that nobody knows."""
    name = dice.choice(["", "__proto__", "id", "a" * 3_000, "\ud800", "\0", "self", "model_config", "ç"])
    return json.dumps({**body, name: 1} if isinstance(body, dict) else [body]).encode()


def _twice(body: Any, dice: random.Random) -> bytes:
    """Say a member twice, each time something else."""
    text = json.dumps(body).encode()
    if not isinstance(body, dict) or not body:
        return text * 2
    name = json.dumps(dice.choice(list(body))).encode()
    return b"{" + name + b":" + dice.choice(ODD_VALUES) + b"," + text[1:]


def _without(body: Any, dice: random.Random) -> bytes:
    """Leave a member out."""
    if not isinstance(body, dict) or not body:
        return b"[]"
    gone = dice.choice(list(body))
    return json.dumps({name: value for name, value in body.items() if name != gone}).encode()


def _cut_short(body: Any, dice: random.Random) -> bytes:
    """Stop in the middle."""
    text = json.dumps(body).encode()
    return text[: dice.randrange(len(text))]


def _garbled(body: Any, dice: random.Random) -> bytes:
    """Change one byte."""
    text = bytearray(json.dumps(body).encode())
    text[dice.randrange(len(text))] = dice.randrange(256)
    return bytes(text)


def _wrapped(body: Any, dice: random.Random) -> bytes:
    """Put it in something, or something before or behind it."""
    text = json.dumps(body).encode()
    before, after = dice.choice(
        [(b"[", b"]"), (b"\xef\xbb\xbf", b""), (b"", b"}"), (b"", b"\0"), (b'"', b'"'), (b"\n\t ", b" ")]
    )
    return before + text + after


def _in_other_letters(body: Any, dice: random.Random) -> bytes:
    """Write it in another encoding."""
    return json.dumps(body).encode(dice.choice(["utf-16", "utf-32", "utf-16-le", "utf-8-sig"]))


MUTATIONS: Sequence[Callable[[Any, random.Random], bytes]] = (
    _with_odd_value, _with_odd_value, _with_odd_value, _with_odd_value, _with_odd_name, _twice, _without, _cut_short, _garbled,
    _wrapped, _in_other_letters,
)  # fmt: skip

# Hardly requests: what the server answers by itself, or not at all. `%(auth)s` is a good Authorization header.
RAW: Mapping[str, bytes] = {
    "no request": b"\r\n\r\n",
    "noise": bytes(range(256)) * 4,
    "no version": b"GET /trucks\r\n\r\n",
    "version 3": b"GET /trucks HTTP/3.0\r\nHost: x\r\n\r\n",
    "no host": b"GET /trucks HTTP/1.1\r\n%(auth)s\r\n\r\n",
    "odd method": b"FROB /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\n\r\n",
    "long path": b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd path": b"POST /trucks/%%00%%ff%%2e%%2e/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nContent-Length: 0\r\n\r\n",
    "bytes in the path": b"GET /trucks/\xff\xfe HTTP/1.1\r\nHost: x\r\n%(auth)s\r\n\r\n",
    "odd query": b"GET /trucks?limit=%%ff&limit=&=&&&status=%%00 HTTP/1.1\r\nHost: x\r\n%(auth)s\r\n\r\n",
    "absolute path": b"GET http://elsewhere/trucks HTTP/1.1\r\nHost: x\r\n%(auth)s\r\n\r\n",
    "many headers": b"GET /trucks HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2_000 + b"\r\n",
    "long header": b"GET /trucks HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000 + b"\r\n\r\n",
    "folded header": b"GET /trucks HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n%(auth)s\r\n\r\n",
    "nul in a header": b"GET /trucks HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n%(auth)s\r\n\r\n",
    "two lengths": b"POST /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative length": b"POST /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nContent-Length: -1\r\n\r\n{}",
    "length and chunks": b"POST /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd chunks": b"POST /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "endless length": b"POST /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    "upgrade": b"GET /stream HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "connect": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    "options": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "trace": b"TRACE /trucks HTTP/1.1\r\nHost: x\r\n%(auth)s\r\n\r\n",
    "head": b"HEAD /trucks HTTP/1.1\r\nHost: x\r\n%(auth)s\r\n\r\n",
    "expect": b"POST /trucks/T1/activate HTTP/1.1\r\nHost: x\r\n%(auth)s\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    "two at once": b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
}
