"""Canonical bytes: what is stored reads as it was, personal data only with its key, and nothing else gets in."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from commands.kernel import Command
from commands.trips.locations import FixSent
from commands.trips.payroll import CorrectPayrollLine
from commands.trips.sites import ChangeRate, RegisterSite
from commands.trips.trips import RecordLoad, RecordTripLocations, StartTrip
from commands.trips.trucks import RegisterTruck
from domain.catalog import STREAMS
from domain.kernel import COMMON_FACTS, ERASED, Erased
from domain.trips.drivers import DriverRegistered
from domain.trips.sites import SiteRegistered
from domain.trips.track import Fix, LocationsRecorded
from domain.trips.trips import LoadRecorded, TripStarted
from infra.database import pool_async
from infra.log.codec import Client, Codec, Envelope, EnvelopeWriter, UnreadableFactError, read_envelope
from infra.log.identity import StreamKey, stream_key
from infra.log.states import States
from infra.log.vault import KeysNeeded, Person, Vault
from tests.conftest import NEIGHBOUR, TENANT, Database

MASTER_KEY = bytes(range(32))
DRIVER = stream_key(TENANT, "drivers", "D-1")
TRIP = stream_key(TENANT, "trips", "T-1")
ANA = DriverRegistered(name="Ana Novak", phone="+386 40 123 456", user="ana")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = NOON.date()
HERE = Fix(index=0, at=NOON, latitude=46.055213, longitude=14.514687, accuracy_m=5.0)


def fixes(*sent: Fix, arrived: date = DAY) -> LocationsRecorded:
    return LocationsRecorded(driver_id="D-1", arrived=arrived, batch=1, count=len(sent), fixes=sent)


def new_codec() -> Codec:
    return Codec(STREAMS.values(), Vault(MASTER_KEY))


def stored(codec: Codec, fact: object, key: StreamKey = DRIVER, version: int = 1) -> tuple[str, bytes]:
    """Encode a fact; keys are made where they are missing, as a write process does."""
    while True:
        try:
            return codec.encode(key, version, fact)
        except KeysNeeded as needed:
            codec.vault.remember([codec.vault.make(person) for person in needed.people])


@pytest.mark.parametrize(
    ("fact", "key", "secrets"),
    [
        (ANA, DRIVER, [b"Ana", b"Novak", b"123 456"]),
        (fixes(HERE), TRIP, [b"46.0552", b"14.5146", b"12:00", b"accuracy"]),
    ],
)
def test_personal_data_is_not_readable_in_what_is_stored(fact: object, key: StreamKey, secrets: list[bytes]) -> None:
    codec = new_codec()
    topic, state = stored(codec, fact, key)
    blobs = [b64decode(text) for text in json.loads(state).values() if isinstance(text, str) and len(text) > 38]
    assert blobs
    for secret in secrets:
        assert secret not in state
        assert all(secret not in blob for blob in blobs)
    assert codec.decode(topic, state, key.originator_id, 1) == fact


def test_the_same_data_is_never_encrypted_to_the_same_bytes() -> None:
    codec = new_codec()
    assert stored(codec, ANA) != stored(codec, ANA)


def swapped(state: bytes) -> bytes:
    one = json.loads(state)
    return json.dumps({**one, "name": one["phone"], "phone": one["name"]}).encode()


@pytest.mark.parametrize(
    ("key", "version", "change"),
    [
        (stream_key(NEIGHBOUR, "drivers", "D-1"), 1, bytes),
        (stream_key(TENANT, "drivers", "D-2"), 1, bytes),
        (DRIVER, 2, bytes),
        (DRIVER, 1, swapped),
    ],
    ids=["another tenant", "another stream", "another version", "another field"],
)
def test_encrypted_data_cannot_be_read_in_another_place(key: StreamKey, version: int, change: Any) -> None:
    codec = new_codec()
    topic, state = stored(codec, ANA)
    assert codec.decode(topic, state, DRIVER.originator_id, 1) == ANA
    with pytest.raises(UnreadableFactError):
        codec.decode(topic, change(state), key.originator_id, version)


def test_what_cannot_be_opened_is_named_as_unreadable() -> None:
    """Only what is unreadable is parked for its tenant alone; any other failure would stop the views of all."""
    codec = new_codec()
    topic, state = stored(codec, ANA)
    with pytest.raises(UnreadableFactError):
        codec.decode(topic, state, DRIVER.originator_id, 2)


@pytest.mark.parametrize("text", ["", "!!", "AAAA", "AQ=="])
def test_what_is_no_encrypted_data_is_named_as_unreadable(text: str) -> None:
    state = json.dumps({"name": text, "phone": None, "user": None}).encode()
    with pytest.raises(UnreadableFactError):
        new_codec().decode("drivers.registered.v1", state, DRIVER.originator_id, 1)


@pytest.mark.parametrize("state", [b"", b"{}", b"[]", b'{"name":7}', b'{"name":null,"phone":null'])
def test_what_is_no_fact_of_its_class_is_named_as_unreadable(state: bytes) -> None:
    with pytest.raises(UnreadableFactError):
        new_codec().decode("sites.registered.v1", state, DRIVER.originator_id, 1)


def test_what_nobody_declares_is_named_as_unreadable() -> None:
    with pytest.raises(UnreadableFactError):
        new_codec().decode("planes.landed.v1", b"{}", DRIVER.originator_id, 1)


def test_data_whose_key_is_destroyed_reads_as_erased() -> None:
    codec = new_codec()
    topic, state = stored(codec, ANA)
    key_id = UUID(bytes=b64decode(json.loads(state)["name"])[1:17])
    codec.vault.forget([key_id])
    erased = codec.decode(topic, state, DRIVER.originator_id, 1)
    assert (erased.name, erased.phone, erased.user) == (ERASED, ERASED, "ana")


def test_a_day_of_fixes_can_be_forgotten_alone() -> None:
    codec = new_codec()
    yesterday, today = (stored(codec, fixes(HERE, arrived=day), TRIP) for day in (DAY - timedelta(days=1), DAY))
    codec.vault.forget([UUID(bytes=b64decode(json.loads(yesterday[1])["fixes"])[1:17])])
    assert codec.decode(*yesterday, TRIP.originator_id, 1).fixes is ERASED
    assert codec.decode(*today, TRIP.originator_id, 1).fixes == (HERE,)


def test_an_envelope_hides_where_a_command_came_from() -> None:
    vault = Vault(MASTER_KEY)
    client = Client(ip="192.0.2.7", user_agent="phone/1.0", session="s-4711")
    envelope = Envelope(command="drivers.register", actor="ana", roles=("dispatcher",))
    writer = EnvelopeWriter(envelope, client, vault)
    with pytest.raises(KeysNeeded) as needed:
        writer.at(DRIVER, 1)
    vault.remember([vault.make(person) for person in needed.value.people])
    written = writer.at(DRIVER, 1)
    assert not [secret for secret in (b"192.0.2.7", b"phone/1.0", b"s-4711") if secret in written]
    read = read_envelope(written)
    assert (read.command, read.actor, read.roles) == ("drivers.register", "ana", ("dispatcher",))
    context = DRIVER.originator_id.bytes + (1).to_bytes(8, "big") + b"client"
    plain = vault.decrypt(b64decode(read.client or ""), context)
    assert json.loads(plain or b"") == {"ip": "192.0.2.7", "user_agent": "phone/1.0", "session": "s-4711"}


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (StartTrip, '{"odometer_km": 99999999999999999999}'),
        (StartTrip, '{"odometer_km": 1e3}'),
        (StartTrip, '{"odometer_km": NaN}'),
        (RegisterSite, '{"name": "x", "latitude": 1e999, "longitude": 1}'),
        (RegisterSite, '{"name": "x", "latitude": NaN, "longitude": 1}'),
        (RegisterSite, '{"name": "x", "latitude": -Infinity, "longitude": 1}'),
        (RegisterSite, '{"name": "x\\u0000", "latitude": 1, "longitude": 1}'),
        (RegisterTruck, '{"number": "1", "plate": "x", "capacity_m3": "1e999"}'),
        (RegisterTruck, '{"number": "1", "plate": "x", "capacity_m3": "NaN"}'),
        (RegisterTruck, '{"number": "1", "plate": "x", "capacity_m3": "Infinity"}'),
        (RegisterTruck, '{"number": "1", "plate": "x", "capacity_m3": "1.00001"}'),
        (RegisterTruck, '{"number": "1", "plate": "x", "capacity_m3": "1000000000"}'),
        (RecordLoad, '{"quantity": 12.5, "unit": "m3", "receipt_number": "1"}'),
        (ChangeRate, '{"rate": {"amount_minor": 99999999999999999999, "currency": "EUR", "unit": "m3"}}'),
        (CorrectPayrollLine, '{"line": "x", "amount_minor": -9999999999999999, "reason": "x"}'),
        (FixSent, '{"at": "2026-11-20T12:00:00Z", "latitude": 1e999, "longitude": 1}'),
        (FixSent, '{"at": "2026-11-20T12:00:00Z", "latitude": 1, "longitude": 1, "accuracy_m": Infinity}'),
        (FixSent, '{"at": "9999-11-20T12:00:00Z", "latitude": 1, "longitude": 1}'),
        (RecordTripLocations, '{"fixes": []}'),
    ],
)
def test_numbers_that_could_not_be_kept_are_not_taken(command: type[Command], body: str) -> None:
    with pytest.raises(ValidationError):
        command.model_validate_json(body)


SITE = stream_key(TENANT, "sites", "S-1")
UNREADABLE: dict[str, tuple[StreamKey, object]] = {
    "not a number": (SITE, SiteRegistered(name="x", latitude=float("nan"), longitude=1.0)),
    "infinity": (SITE, SiteRegistered(name="x", latitude=1.0, longitude=float("inf"))),
    "a decimal that is not a number": (TRIP, LoadRecorded(quantity=Decimal("NaN"), unit="m3", receipt_number="1")),
    "a word that is none of the allowed": (TRIP, LoadRecorded(quantity=Decimal(1), unit="kg", receipt_number="1")),  # type: ignore[arg-type]
    "a fraction for an integer": (TRIP, TripStarted(odometer_km=1.5)),  # type: ignore[arg-type]
    "not a number, encrypted": (TRIP, fixes(Fix(index=0, at=NOON, latitude=float("nan"), longitude=1.0))),
    "infinity, encrypted": (TRIP, fixes(Fix(index=0, at=NOON, latitude=1.0, longitude=1.0, accuracy_m=float("inf")))),
    "a number for a name": (DRIVER, DriverRegistered(name=7)),  # type: ignore[arg-type]
    "something erased": (DRIVER, DriverRegistered(name=ERASED)),
    "half a character": (DRIVER, DriverRegistered(name="\ud800")),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_fact_that_would_not_be_read_as_it_is_is_refused(what: str) -> None:
    key, fact = UNREADABLE[what]
    with pytest.raises(UnreadableFactError):
        stored(new_codec(), fact, key)


def any_of(hint: Any) -> some.SearchStrategy[Any]:
    """Values of a type, as far as commands let them in."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return any_of(arguments[0])
    if origin in (Union, UnionType):
        return some.one_of(*(some.none() if one is NoneType else any_of(one) for one in arguments if one is not Erased))
    if origin is Literal:
        return some.sampled_from(arguments)
    if origin is tuple:
        return some.lists(any_of(arguments[0]), max_size=3).map(tuple)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return some.builds(hint, **{one.name: any_of(hints[one.name]) for one in fields(hint)})
    return LEAVES[hint]


LEAVES: dict[Any, some.SearchStrategy[Any]] = {
    bool: some.booleans(),
    str: some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    int: some.integers(-(2**63), 2**63 - 1),
    float: some.floats(-1e9, 1e9),
    Decimal: some.decimals(-(10**9), 10**9, places=4),
    date: some.dates(date(1970, 1, 1), date(2200, 12, 31)),
    datetime: some.datetimes(datetime(1970, 1, 1), datetime(2200, 12, 31), timezones=some.just(UTC)),
}
NAMED = [
    *((stream.name, topic, fact) for stream in STREAMS.values() for topic, fact in stream.facts.items()),
    *(("trips", topic, fact) for topic, fact in COMMON_FACTS.items()),
]


@pytest.mark.parametrize(("stream", "topic", "cls"), NAMED, ids=[topic for _, topic, _ in NAMED])
def test_every_fact_is_read_as_it_was_written(stream: str, topic: str, cls: type) -> None:
    codec, key = new_codec(), stream_key(TENANT, stream, "x")

    @settings(max_examples=25, deadline=None, database=None)
    @given(fact=any_of(cls))
    def story(fact: object) -> None:
        written = stored(codec, fact, key)
        assert written[0] == topic
        assert codec.decode(*written, key.originator_id, 1) == fact

    story()


@asynccontextmanager
async def process(url: str) -> AsyncIterator[tuple[States, Vault]]:
    """What a write process has of keys: a vault of its own over the same table."""
    codec = new_codec()
    async with pool_async(url, "test", 4) as pool:
        yield States(STREAMS, pool, codec, 1_000_000), codec.vault


def test_processes_that_make_a_key_at_once_use_the_same_one(database: Database) -> None:
    people = [Person(TENANT, UUID(int=n), DAY if n % 2 else None) for n in range(40)]

    async def story() -> list[list[bytes]]:
        async with process(database.writer) as ours, process(database.writer) as theirs:
            for person in people:
                await asyncio.gather(*(states.fetch(KeysNeeded([person])) for states, _ in (ours, theirs)))
            blobs = [[vault.encrypt(person, b"secret", b"") for person in people] for _, vault in (ours, theirs)]
            assert [theirs[1].decrypt(blob, b"") for blob in blobs[0]] == [b"secret"] * len(people)
            assert [ours[1].decrypt(blob, b"") for blob in blobs[1]] == [b"secret"] * len(people)
            return [[blob[1:17] for blob in one] for one in blobs]

    key_ids = asyncio.run(story())
    assert all(one == other for one, other in pairwise(key_ids))
    with psycopg.connect(database.owner) as connection:
        found = connection.execute("select key_id from fieldlog.keys").fetchall()
    assert {key_id.bytes for (key_id,) in found} == set(key_ids[0])
    assert len(found) == len(people)


def test_what_another_process_destroyed_is_erased_and_gets_a_new_key(database: Database) -> None:
    async def story() -> None:
        async with process(database.writer) as (states, vault):
            person = Person(TENANT, UUID(int=1), DAY)
            await states.fetch(KeysNeeded([person]))
            before = vault.encrypt(person, b"secret", b"")
            [(gone,)] = await states.rows("select fieldlog.destroy_daily_keys(%s, %s)", [TENANT, DAY])
            assert gone == 1
        async with process(database.writer) as (states, vault):
            await states.fetch(KeysNeeded(ids=[UUID(bytes=before[1:17])]))
            assert vault.decrypt(before, b"") is None
            await states.fetch(KeysNeeded([person]))
            assert vault.encrypt(person, b"secret", b"")[1:17] != before[1:17]

    asyncio.run(story())


def test_a_master_key_opens_only_what_it_wrapped() -> None:
    key = Vault(MASTER_KEY).make(Person(TENANT, UUID(int=1)))
    assert key.wrapped is not None
    with pytest.raises(InvalidTag):
        Vault(bytes(32)).remember([key])
    assert Vault(bytes(32)).master_id != Vault(MASTER_KEY).master_id
