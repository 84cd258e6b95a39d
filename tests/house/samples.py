"""Golden samples of facts: bytes as they were stored once, and what they must be read as for ever.

`state` is the fact's JSON with personal data in the clear. Where it has personal data, `stored` is the same fact as the log
holds it, encrypted under the keys beside it, which are wrapped by MASTER_KEY. `reads` are its fields as Python shows them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.catalog import STREAMS
from domain.kernel import COMMON_FACTS, Erased
from infra.log.codec import Codec
from infra.log.identity import StreamKey, stream_key
from infra.log.vault import KeysNeeded, Person, StoredKey, Vault
from tests.house.source import ROOT

FOLDER = ROOT / "tests" / "golden" / "facts"
MASTER_KEY = bytes(range(32))
TENANT = UUID("0192f000-0000-7000-8000-000000000001")
Document = dict[str, Any]
_plain = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode

VALUES: Mapping[type, Any] = {
    bool: True,
    int: 48_210,
    float: 46.0552,
    Decimal: Decimal("20.2658"),
    date: date(2026, 11, 20),
    datetime: datetime(2026, 11, 20, 8, 15, 30, 123_456, tzinfo=UTC),
    UUID: UUID("0192f000-0000-7000-8000-000000000009"),
}


def stored_names() -> dict[str, tuple[str, type]]:
    """Return the stream and class of every stored name; facts that any stream may hold are sampled on trips."""
    own = {topic: (stream.name, fact) for stream in STREAMS.values() for topic, fact in stream.facts.items()}
    return own | {topic: ("trips", fact) for topic, fact in COMMON_FACTS.items()}


def path_of(topic: str) -> Path:
    """Return where the sample of a stored name is."""
    return FOLDER / f"{topic}.json"


def read(topic: str) -> Document:
    """Return a sample."""
    document: Document = json.loads(path_of(topic).read_text())
    return document


def write_missing() -> list[str]:
    """Write a sample of every fact that has none; those that exist are never touched. Return the new ones."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [topic for topic in stored_names() if not path_of(topic).exists()]
    for topic in missing:
        path_of(topic).write_text(json.dumps(make(topic), indent=2, ensure_ascii=False) + "\n")
    return missing


def make(topic: str) -> Document:
    """Return a sample: every field has a value, personal data is encrypted under a key that follows from the person."""
    stream, cls = stored_names()[topic]
    fact = _valued(cls)
    key, codec = stream_key(TENANT, stream, "sample"), new_codec()
    keys: list[StoredKey] = []
    while True:
        try:
            _, stored = codec.encode(key, 1, fact)
            break
        except KeysNeeded as needed:
            keys += map(_key_of, needed.people)
            codec.vault.remember(keys)
    document: Document = {"tenant": str(TENANT), "stream": stream, "id": key.id, "version": 1}
    document |= {"state": _plain(fact).decode(), "reads": shown(fact)}
    if keys:
        document |= {"stored": stored.decode(), "keys": [_key_document(one) for one in keys]}
    return document


def opened(topic: str, sample: Document) -> Any:
    """Return the fact of a sample as this code reads it from the stored bytes."""
    codec = new_codec()
    codec.vault.remember(_key_of_document(one) for one in sample.get("keys", ()))
    stored = sample.get("stored", sample["state"])
    return codec.decode(topic, stored.encode(), key_of(sample).originator_id, sample["version"])


def key_of(sample: Document) -> StreamKey:
    """Return the identity of the stream that a sample is on."""
    return stream_key(UUID(sample["tenant"]), sample["stream"], sample["id"])


def new_codec() -> Codec:
    """Return a codec of all streams that knows no key but the master key of the samples."""
    return Codec(STREAMS.values(), Vault(MASTER_KEY))


def written(fact: Any) -> Any:
    """Return a fact's fields as they are stored today, personal data in the clear."""
    return json.loads(_plain(fact))


def shown(value: Any) -> Any:
    """Return a value as Python shows it, parts and lists opened up, without the names of classes, which may change."""
    if is_dataclass(value):
        return {one.name: shown(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [shown(one) for one in value]
    return repr(value)


def differences(fact: Any, reads: Any, place: str = "") -> Iterator[str]:
    """Yield where a fact is not what its sample was read as; fields that came later must have their default."""
    if is_dataclass(fact) and isinstance(reads, dict):
        known = {one.name: one for one in fields(fact)}
        yield from (f"{place}/{name} is gone" for name in reads.keys() - known.keys())
        for name, one in known.items():
            value = getattr(fact, name)
            if name in reads:
                yield from differences(value, reads[name], f"{place}/{name}")
            elif value != _default(one):
                yield f"{place}/{name} came later and is not its default"
    elif isinstance(fact, tuple) and isinstance(reads, list) and len(fact) == len(reads):
        for number, (one, read_as) in enumerate(zip(fact, reads, strict=True)):
            yield from differences(one, read_as, f"{place}/{number}")
    elif shown(fact) != reads:
        yield f"{place} is {shown(fact)}, not {reads}"


def unlike(new: Any, old: Any, place: str = "") -> Iterator[str]:
    """Yield where JSON that is written today lacks, reorders or changes something of what was written then."""
    if isinstance(new, dict) and isinstance(old, dict):
        if [name for name in new if name in old] != list(old):
            yield f"{place} has {list(new)}, not {list(old)}"
        for name in new.keys() & old.keys():
            yield from unlike(new[name], old[name], f"{place}/{name}")
    elif isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for number, (one, other) in enumerate(zip(new, old, strict=True)):
            yield from unlike(one, other, f"{place}/{number}")
    elif (type(new), new) != (type(old), old):
        yield f"{place} is {new!r}, not {old!r}"


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _valued(cls: type) -> Any:
    """Return a fact, or a part of one, in which every field has a value."""
    hints = get_type_hints(cls)
    return cls(**{one.name: _value(hints[one.name], one.name) for one in fields(cls)})


def _value(hint: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _value(next(one for one in arguments if one not in (NoneType, Erased)), name)
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return (_value(arguments[0], name),)
    if hint is str:
        return f"{name} č"
    return _valued(hint) if is_dataclass(hint) else VALUES[hint]


def _key_of(person: Person) -> StoredKey:
    """Return the key of a person in samples: always the same, wrapped as the vault wraps keys."""
    seed = sha256(f"golden sample {person.person_id} {person.day}".encode()).digest()
    key_id, nonce, cipher = UUID(bytes=seed[:16], version=4), seed[16:28], AESGCM(MASTER_KEY)
    data_key = sha256(b"data key" + seed).digest()
    return StoredKey(key_id, *person, nonce + cipher.encrypt(nonce, data_key, key_id.bytes))


def _key_document(key: StoredKey) -> Document:
    wrapped = key.wrapped.hex() if key.wrapped is not None else None
    day = key.day.isoformat() if key.day is not None else None
    return {"key_id": str(key.key_id), "person_id": str(key.person_id), "day": day, "wrapped": wrapped}


def _key_of_document(document: Document) -> StoredKey:
    day = date.fromisoformat(document["day"]) if document["day"] is not None else None
    person = Person(TENANT, UUID(document["person_id"]), day)
    return StoredKey(UUID(document["key_id"]), *person, bytes.fromhex(document["wrapped"]))


def files() -> Iterable[Path]:
    """Return all sample files."""
    return sorted(FOLDER.glob("*"))
