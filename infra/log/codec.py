"""Canonical bytes: facts to the JSON that is stored and back, and the envelope beside it.

`state` is the fact's own fields as JSON, in the order of their declaration; a personal field holds base64 of its encrypted
JSON instead. Encoding decodes and compares what it wrote, so nothing is stored that cannot be read again.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from eventsourcing.persistence import Mapper, StoredEvent

from domain.kernel import COMMON_FACTS, ERASED, Erased, Personal, Stream
from infra.log.identity import StreamKey, person_id
from infra.log.vault import Person, Vault

_encode = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode


class UnreadableFactError(ValueError):
    """A fact would be stored as something else than it is, or what is stored does not fit its class."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fact in its place: what the eventsourcing library calls a domain event."""

    originator_id: UUID
    originator_version: int
    fact: object
    key: StreamKey | None = None


@dataclass(frozen=True, slots=True)
class _PersonalField:
    name: str
    mark: Personal
    decoder: msgspec.json.Decoder[Any]


class _Shape:
    """How one class of facts is written and read."""

    def __init__(self, topic: str, cls: type) -> None:
        self.topic, self.cls = topic, cls
        hints = get_type_hints(cls, include_extras=True)
        marks = {name: mark for name, hint in hints.items() if (mark := _mark(hint)) is not None}
        self.personal = [_PersonalField(name, mark, _plain_decoder(hints[name])) for name, mark in marks.items()]
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            _stored_twin(cls, hints, marks) if marks else cls
        )


def _mark(hint: Any) -> Personal | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Personal)), None)


def _plain_decoder(hint: Any) -> msgspec.json.Decoder[Any]:
    kept = tuple(kind for kind in get_args(get_args(hint)[0]) if kind is not Erased)
    return msgspec.json.Decoder(Union[kept])  # noqa: UP007


def _stored_twin(cls: type, hints: Mapping[str, Any], marks: Mapping[str, Personal]) -> type:
    """Return a type with the same fields in which personal ones hold text."""
    shape: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for one in fields(cls):
        kind = str | None if one.name in marks else hints[one.name]
        if one.default is not MISSING:
            shape.append((one.name, kind, one.default))
        elif one.default_factory is not MISSING:
            shape.append((one.name, kind, msgspec.field(default_factory=one.default_factory)))
        else:
            shape.append((one.name, kind))
    return msgspec.defstruct(f"Stored{cls.__name__}", shape, kw_only=True)


class Codec(Mapper[UUID]):
    """Writes and reads the facts of these streams; the eventsourcing library's mapper."""

    def __init__(self, streams: Iterable[Stream[Any]], vault: Vault) -> None:
        self.vault = vault
        self._by_topic: dict[str, _Shape] = {}
        self._by_class: dict[tuple[str, type], _Shape] = {}
        for stream in streams:
            for topic, cls in (*stream.facts.items(), *COMMON_FACTS.items()):
                shape = self._by_topic.setdefault(topic, _Shape(topic, cls))
                self._by_class[stream.name, cls] = shape

    def encode(self, key: StreamKey, version: int, fact: object) -> tuple[str, bytes]:
        """Return the stored name and bytes. Raises KeysNeeded, UnreadableFactError."""
        shape = self._by_class[key.stream, type(fact)]
        try:
            state = self._written(shape, key, version, fact)
        except (ValueError, TypeError) as error:
            raise UnreadableFactError(f"{shape.topic} would not be read as it is: {error}") from error
        return shape.topic, state

    def _written(self, shape: _Shape, key: StreamKey, version: int, fact: object) -> bytes:
        if not shape.personal:
            state = _encode(fact)
            if shape.decoder.decode(state) != fact:
                raise ValueError("another value comes back")
            return state
        shown = {one.name: getattr(fact, one.name) for one in fields(shape.cls)}
        for field in shape.personal:
            value = shown[field.name]
            if value is not None:
                plain = _encode(value)
                if field.decoder.decode(plain) != value:
                    raise ValueError(f"another {field.name} comes back")
                blob = self.vault.encrypt(
                    _person(field.mark, key, fact), plain, _context(key.originator_id, version, field.name)
                )
                shown[field.name] = b64encode(blob).decode()
        state = _encode(shown)
        stored = shape.decoder.decode(state)
        if any(getattr(stored, name) != value for name, value in shown.items()):
            raise ValueError("another value comes back")
        return state

    def decode(self, topic: str, state: bytes, originator_id: UUID, version: int) -> Any:
        """Return the fact; what its person's key no longer opens is ERASED. Raises KeysNeeded, UnreadableFactError."""
        shape = self._by_topic.get(topic)
        if shape is None:
            raise UnreadableFactError(f"no fact is declared as {topic}")
        try:
            return self._read(shape, state, originator_id, version)
        except (ValueError, IndexError, InvalidTag) as error:
            raise UnreadableFactError(f"{topic}: {error or type(error).__name__}") from error

    def _read(self, shape: _Shape, state: bytes, originator_id: UUID, version: int) -> Any:
        stored = shape.decoder.decode(state)
        if not shape.personal:
            return stored
        opened = {name: getattr(stored, name) for name in stored.__struct_fields__}
        for field in shape.personal:
            if opened[field.name] is not None:
                plain = self.vault.decrypt(b64decode(opened[field.name]), _context(originator_id, version, field.name))
                opened[field.name] = ERASED if plain is None else field.decoder.decode(plain)
        return shape.cls(**opened)

    def knows(self, topic: str) -> bool:
        """Say whether facts of this stored name can be read."""
        return topic in self._by_topic

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Return the library's stored event of a Happened that knows its stream."""
        topic, state = self.encode(domain_event.key, domain_event.originator_version, domain_event.fact)
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, topic, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Return what happened, from the library's stored event."""
        originator_id, version = UUID(str(stored_event.originator_id)), stored_event.originator_version
        return Happened(
            originator_id, version, self.decode(stored_event.topic, stored_event.state, originator_id, version)
        )


def _person(mark: Personal, key: StreamKey, fact: object) -> Person:
    person = key.id if mark.of is None else getattr(fact, mark.of)
    return Person(
        key.tenant_id, person_id(key.tenant_id, person), None if mark.day is None else getattr(fact, mark.day)
    )


def _context(originator_id: UUID, version: int, name: str) -> bytes:
    return originator_id.bytes + version.to_bytes(8, "big", signed=True) + name.encode()


class Client(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a command came from; personal data of whoever sent it."""

    ip: str | None = None
    user_agent: str | None = None
    session: str | None = None


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asked for a fact, by which command and why; stored beside it as JSON. `client` is encrypted.

    `op` is the client's name of a command among those that were carried out together.
    """

    command: str
    actor: str
    op: str | None = None
    roles: tuple[str, ...] = ()
    application: str | None = None
    request_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    fingerprint: str | None = None
    client: str | None = None


_read_envelope = msgspec.json.Decoder(Envelope).decode


def read_envelope(stored: bytes) -> Envelope:
    """Return the envelope of a stored fact."""
    return _read_envelope(stored)


class EnvelopeWriter:
    """Writes the envelope of a command beside each of its facts, with where it came from encrypted for that place."""

    def __init__(self, envelope: Envelope, client: Client, vault: Vault) -> None:
        self._plain = _encode(envelope)
        self._client = _encode(client) if client != _NOWHERE else None
        self._actor, self._vault = envelope.actor, vault

    def at(self, key: StreamKey, version: int) -> bytes:
        """Return the envelope as it is stored at a place in a stream. Raises KeysNeeded."""
        if self._client is None:
            return self._plain
        person = Person(key.tenant_id, person_id(key.tenant_id, self._actor))
        blob = self._vault.encrypt(person, self._client, _context(key.originator_id, version, "client"))
        return b'%b,"client":"%b"}' % (self._plain[:-1], b64encode(blob))


_NOWHERE = Client()
