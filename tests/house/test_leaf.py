"""docs/log.md, as an implementer would read it: its layout, examples and vectors against the code and the database itself."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, get_type_hints
from uuid import UUID, uuid5

import psycopg
import pytest

from commands.kernel import Ask
from commands.trips.trips import CondenseTrack
from domain.trips.trips import TRIPS
from infra.log.batcher import APPENDED, DONE, MOVED, Answer, Append, Batcher, Lineage, NewFact, Read
from infra.log.codec import Envelope
from infra.log.identity import StreamKey, caused_command_id, keyed_command_id, person_id, stream_key
from infra.log.vault import Person, StoredKey, Vault
from infra.reactor import name_of
from tests.conftest import Database
from tests.house import markdown
from tests.house.source import ROOT
from tests.leaf import Stored, leaf

TEXT = (ROOT / "docs" / "log.md").read_text()
VECTORS = [markdown.fields(block) for block in markdown.blocks(TEXT, "leaf")]
[LAYOUT] = markdown.tables(markdown.section(TEXT, "Leaf"))
TENANT = UUID("0192f000-0000-7000-8000-000000000001")
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FORMS: Mapping[str, Callable[[Any, int], bytes]] = {
    "uuid": lambda value, _: value.bytes,
    "integer": lambda value, size: value.to_bytes(size, "big"),
    "microseconds since 2000-01-01T00:00:00Z, signed": lambda value, size: (
        (value - EPOCH) // timedelta(microseconds=1)
    ).to_bytes(size, "big", signed=True),
    "text in UTF-8": lambda value, _: value.encode(),
    "as stored": lambda value, _: value,
}


def stored(vector: Mapping[str, str]) -> Stored:
    """Return the row that a vector stands for."""
    kinds = get_type_hints(Stored)
    return Stored(**{name: _value(kinds[name], vector[name]) for name in Stored._fields})


def _value(kind: type, text: str) -> Any:
    if kind is bytes:
        return bytes.fromhex(text.removeprefix("hex ")) if text.startswith("hex ") else text.encode()
    return datetime.fromisoformat(text) if kind is datetime else kind(text)


def test_the_layout_names_every_field_in_order() -> None:
    assert [row[0] for row in LAYOUT] == [str(number) for number in range(1, 14)]
    assert tuple(row[1].strip("`") for row in LAYOUT) == Stored._fields


@pytest.mark.parametrize("vector", VECTORS)
def test_a_leaf_is_what_the_table_says(vector: Mapping[str, str]) -> None:
    row, hashed = stored(vector), b"\x00\x01"
    for _, name, size, form in LAYOUT:
        known = int(size) if size.isdecimal() else 0
        field = FORMS[form](getattr(row, name.strip("`")), known)
        assert not known or len(field) == known
        hashed += len(field).to_bytes(4, "big") + field
    assert hashed.hex() == vector["hashed"]
    assert sha256(hashed).hexdigest() == vector["leaf"]
    assert leaf(row).hex() == vector["leaf"]


def test_the_vectors_reach_the_corners() -> None:
    rows = [stored(vector) for vector in VECTORS]
    assert len(rows) >= 3
    assert any(row.occurred_at < EPOCH for row in rows), "a negative time"
    assert any(row.command_index for row in rows), "a fact that is not the first of its command"
    assert any(not row.stream and not row.originator_version for row in rows), "an event of the library"
    assert any(len(row.state) != len(row.state.decode("latin-1").encode()) for row in rows), "more than ASCII"


@pytest.mark.parametrize("vector", VECTORS)
def test_the_database_computes_the_same_leaf(vector: Mapping[str, str], database: Database) -> None:
    """The log's last row is recorded at the vector's moment, in the future; what is appended is never recorded before it."""
    row = stored(vector)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            """insert into fieldlog.log (notification_id, originator_id, originator_version, tenant_id, tenant_seq,
                   recorded_at, occurred_at, command_id, command_index, topic, stream, id, state, envelope, leaf)
               values (1, %s, %s, %s, %s, %s, now(), gen_random_uuid(), 0, '', %s, %s, '', '', '')""",
            _predecessor(row),
        )
        answer = asyncio.run(_appended(database.writer, row))
        assert (answer.kind, answer.position) == (APPENDED, 2)
        found = connection.execute(
            f"select {', '.join(Stored._fields)}, leaf from fieldlog.log order by notification_id desc limit 1"
        ).fetchone()
    assert found is not None
    assert Stored(*found[:-1]) == row
    assert found[-1].hex() == vector["leaf"]


def _predecessor(row: Stored) -> list[object]:
    """Return the row before the command of a vector: the same stream's last one, else another one of its tenant or none."""
    version, seq = row.originator_version - 1 - row.command_index, row.tenant_seq - 1 - row.command_index
    if version > 0:
        return [row.originator_id, version, row.tenant_id, seq, row.recorded_at, row.stream, row.id]
    tenant = row.tenant_id if seq > 0 else UUID(int=9)
    return [UUID(int=8), 1, tenant, max(seq, 1), row.recorded_at, "others", "other"]


async def _appended(url: str, row: Stored) -> Answer:
    key = StreamKey(row.originator_id, row.tenant_id, row.stream, row.id, row.originator_id.bytes)
    before = NewFact(key, "before", b"{}", b"{}", row.occurred_at)
    facts = [before] * row.command_index + [NewFact(key, row.topic, row.state, row.envelope, row.occurred_at)]
    read = Read(key, row.originator_version - 1 - row.command_index, Lineage())
    batcher = Batcher(url)
    append = Append(row.command_id, [read], facts, asyncio.get_running_loop().create_future())
    batcher.put(append)
    answer = await append.answer
    await batcher.stop()
    return answer


def test_the_columns_are_those_of_the_table(database: Database) -> None:
    [columns] = markdown.tables(markdown.section(TEXT, "One row, one fact"))
    kinds = {"timestamptz": "timestamp with time zone"}
    documented = [(name.strip("`"), kinds.get(kind, kind)) for name, kind, _ in columns]
    with psycopg.connect(database.owner) as connection:
        found = connection.execute(
            """select column_name, data_type from information_schema.columns
                where table_schema = 'fieldlog' and table_name = 'log' order by ordinal_position"""
        ).fetchall()
    assert documented == found


def test_identities_are_as_the_examples_say() -> None:
    examples = {what: found.strip("`") for what, found in markdown.tables(markdown.section(TEXT, "Identity"))[1]}
    stream = stream_key(TENANT, "trips", "T-1").originator_id
    condense = CondenseTrack(through=date(2026, 11, 20), driver_id="D-1", dwell=())
    assert [UUID(one) for one in examples.values()] == [
        stream,
        person_id(TENANT, "D-1"),
        keyed_command_id(TENANT, "ana", "/trips/T-1/start", "k-1"),
        caused_command_id(uuid5(stream, "7"), name_of("condense-tracks", Ask(TRIPS, "T-1", condense))),
    ]
    names = ["trips/T-1", "person/D-1", "/trips/T-1/start\nk-1\nana"]
    assert [UUID(one) for one in list(examples.values())[:3]] == [uuid5(TENANT, name) for name in names]


def test_the_example_of_personal_data_opens() -> None:
    [block] = markdown.blocks(TEXT, "personal")
    example = markdown.fields(block)
    vault = Vault(bytes.fromhex(example["master key"]))
    wrapped = StoredKey(UUID(example["key id"]), TENANT, UUID(int=0), None, bytes.fromhex(example["wrapped"]))
    context = (
        UUID(example["originator_id"]).bytes + int(example["version"]).to_bytes(8, "big") + example["field"].encode()
    )
    vault.remember([wrapped])
    assert vault.decrypt(b64decode(example["stored"]), context) == example["value"].encode()
    blob = vault.encrypt(Person(TENANT, UUID(int=0)), b"x", context)
    assert (blob[0], blob[1:17], len(blob)) == (1, wrapped.key_id.bytes, 1 + 16 + 12 + 1 + 16)


def test_the_members_of_the_envelope_are_all_of_them() -> None:
    [members] = markdown.tables(markdown.section(TEXT, "Envelope"))
    assert sorted(name.strip("`") for name, _ in members) == sorted(Envelope.__struct_fields__)


def test_the_answers_are_those_of_the_append_function() -> None:
    [answers] = markdown.tables(markdown.section(TEXT, "What the append function answers"))
    assert [(int(code), what.partition(":")[0]) for code, what, _ in answers] == [
        (DONE, "done"),
        (APPENDED, "appended"),
        (MOVED, "moved"),
    ]
