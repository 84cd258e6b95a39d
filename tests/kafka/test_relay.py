"""The relay publishes every fact and every row, once and in order, and says how far it is."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, closing

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from infra.kafka.clients import admin, producer
from infra.kafka.record import KEY, NEAR, Record, RelayError, encode, read_record
from infra.kafka.relay import Relay
from infra.kafka.topics import TopicMaker, Topics
from infra.operate import resume, status
from infra.settings import Settings, SettingsError
from infra.views.builds import ensure_builds, make_build
from projections.catalog import CONTEXTS
from projections.kernel import Context
from tests.conftest import NEIGHBOUR, TENANT
from tests.kafka.published import (
    assert_every_fact_once_and_in_order,
    assert_topics_equal_tables,
    facts,
    read,
    relaying,
    rows,
    wait_until_published,
)
from tests.running import free_port
from tests.views.haulage import Day
from tests.views.house import (
    House,
    Person,
    Process,
    environment,
    head,
    process,
    projecting,
    rows_of,
    served_schema,
    serving,
    wait_for,
    wait_until_folded,
)
from tests.views.test_parking import append, fails, stumbling, wait_until_nothing_is_parked
from tests.views.test_rebuild import wait_until_served

TRIPS = CONTEXTS["trips"].version
POISON = "13"


def register(person: Person, id: str, number: str | None = None) -> int:
    """Register a truck; return the position of its last fact."""
    return int(person.ask(f"/trucks/{id}/register", {"number": number or id, "plate": id})["position"])


def test_a_day_of_two_organisations_is_published(house: House, settings: Settings) -> None:
    Day(house.office()).whole()
    Day(house.office(NEIGHBOUR)).begin()
    with relaying(settings):
        record = wait_until_published(settings)
        assert record.log == head(settings)
        Day(house.office(NEIGHBOUR)).drive_well()
        wait_until_published(settings)
    assert_every_fact_once_and_in_order(settings)
    assert_topics_equal_tables(settings)


def test_what_does_not_fit_into_one_transaction_is_published_in_several(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, most in {"FACTS_BATCH": 7, "ROWS_BATCH": 3, "WINDOW": 5}.items():
        monkeypatch.setattr(f"infra.kafka.relay.{limit}", most)
    Day(house.office()).whole()
    wait_until_folded(settings)
    with relaying(settings):
        wait_until_published(settings)
    Day(house.office(NEIGHBOUR)).whole()
    wait_until_folded(settings)
    with relaying(settings):
        wait_until_published(settings)
    assert_every_fact_once_and_in_order(settings)
    assert_topics_equal_tables(settings)


def test_a_fact_carries_what_the_log_has_of_it(house: House, settings: Settings) -> None:
    office = house.office()
    traced = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    office.ask("/drivers/D1/register", {"name": "Ana Novak", "user": "ana"}, traceparent=traced)
    with relaying(settings):
        wait_until_published(settings)
    [stored] = rows_of(
        settings.need("projector_url"),
        """select notification_id, originator_id, originator_version, convert_from(state, 'UTF8'), occurred_at, recorded_at
             from fieldlog.log where topic = 'drivers.registered.v1'""",
    )
    [published] = [one for one in facts(settings) if one.attributes["type"] == "drivers.registered.v1"]
    position, originator, version, state, occurred, recorded = stored
    assert published.value == json.loads(state)
    assert "Ana" not in state, "a name was published"
    assert published.key == str(originator)
    correlation = published.attributes.pop("correlationid")
    assert len(correlation) == 36
    assert published.attributes.pop("traceparent").split("-")[1] == traced.split("-")[1]
    moments = [published.attributes.pop(name) for name in ("time", "recordedat")]
    assert [moment.removesuffix("Z") for moment in moments] == [
        moment.isoformat().removesuffix("+00:00") for moment in (occurred, recorded)
    ]
    assert published.attributes == {
        "content-type": "application/json",
        "specversion": "1.0",
        "id": f"{originator}.{version}",
        "source": "urn:fieldlog:fieldlog",
        "type": "drivers.registered.v1",
        "subject": "drivers/D1",
        "dataschema": "http://127.0.0.1:8002/schemas/facts/drivers.registered.v1.json",
        "partitionkey": str(originator),
        "sequence": str(version),
        "position": str(position),
        "tenantid": str(TENANT),
    }


def test_a_row_that_is_gone_is_a_tombstone(house: House, settings: Settings) -> None:
    office, day = house.office(), Day(house.office())
    day.begin()
    day.drive_well()
    wait_until_folded(settings)
    topic = Topics(settings.topic_prefix).view("locations", TRIPS)
    with relaying(settings):
        wait_until_published(settings)
        [shown] = [one for one in read(settings, [topic]) if one.attributes["subject"] == "D1"]
        assert shown.value["driver_id"] == "D1"
        office.ask("/drivers/D1/disable-tracking")
        wait_until_folded(settings)
        wait_until_published(settings)
    gone = read(settings, [topic])[-1]
    assert (gone.key, gone.value) == (f"{TENANT}/D1", None)
    assert gone.attributes["id"] == f"locations.v{TRIPS}/{TENANT}/D1@{gone.attributes['position']}"
    assert_topics_equal_tables(settings)


def next_version() -> list[Context]:
    """Return the contexts after a change for which the version of trips was raised."""
    others = [context for name, context in CONTEXTS.items() if name != "trips"]
    return [*others, Context("trips", TRIPS + 1, CONTEXTS["trips"].views)]


def test_a_new_version_of_a_view_has_a_topic_of_its_own_complete(settings: Settings) -> None:
    with serving(settings) as house, relaying(settings):
        office = house.office()
        with projecting(settings):
            Day(office).begin()
            wait_until_folded(settings)
            wait_until_published(settings)
        with psycopg.connect(settings.need("database_url"), autocommit=True) as owner:
            [made] = ensure_builds(owner, next_version())
        with projecting(settings, next_version()):
            wait_until_served(settings, int(made.rpartition("_")[2]))
            wait_until_published(settings)
            register(office, "T9")
            office.see("/trucks")
            wait_until_published(settings)
    former, latter = (rows(settings, ("trucks", version))["trucks"] for version in (TRIPS, TRIPS + 1))
    assert {f"{TENANT}/T{n}" for n in (1, 2, 3)} == former.keys()
    assert latter.keys() == former.keys() | {f"{TENANT}/T9"}
    assert all(latter[key] == former[key] for key in former)


def test_a_rebuild_of_the_same_version_takes_away_what_it_does_not_have(house: House, settings: Settings) -> None:
    register(house.office(), "T1")
    wait_until_folded(settings)
    ghost = f"update {served_schema(settings)}.changes set key = 'ghost' where view = 'trucks' and key = 'T1'"
    rows_of(settings.need("projector_url"), ghost)
    with relaying(settings):
        wait_until_published(settings)
    assert rows(settings, ("trucks", TRIPS))["trucks"].keys() == {f"{TENANT}/ghost"}
    with psycopg.connect(settings.need("database_url"), autocommit=True) as owner:
        made = int(make_build(owner, CONTEXTS["trips"]).rpartition("_")[2])
    wait_until_served(settings, made)
    with relaying(settings):
        wait_until_published(settings)
    assert_topics_equal_tables(settings)


@pytest.mark.parametrize("following", [False, True], ids=["before it began", "while it follows"])
def test_what_was_parked_is_published_once_it_is_readmitted(settings: Settings, following: bool) -> None:
    with serving(settings) as house, ExitStack() as relay:
        ours, theirs = house.office(), house.office(NEIGHBOUR)
        register(ours, "T1")
        if following:
            relay.enter_context(relaying(settings))
            with projecting(settings):
                wait_until_folded(settings)
                wait_until_published(settings)
        with projecting(settings, stumbling(fails)):
            register(ours, "T2", POISON)
            register(ours, "T3")
            register(theirs, "T4")
            register(theirs, "T5", POISON)
            wait_until_folded(settings)
            if not following:
                relay.enter_context(relaying(settings))
            wait_until_published(settings)
        trucks = {key.rpartition("/")[2] for key in rows(settings, ("trucks", TRIPS))["trucks"]}
        assert trucks == {"T1", "T4"}
        resume(settings)
        with projecting(settings):
            wait_until_nothing_is_parked(settings)
            wait_until(settings, lambda record: not record.views["trips"].held)
    assert_topics_equal_tables(settings)
    assert_every_fact_once_and_in_order(settings)


def test_what_came_before_a_park_is_published_by_a_relay_that_was_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.kafka.relay.WINDOW", 2)
    with serving(settings) as house:
        office = house.office()
        with projecting(settings, stumbling(fails)):
            with relaying(settings):
                wait_until_published(settings)
            for number in range(4):
                register(office, f"T{number}")
                wait_until_folded(settings)
            register(office, "T9", POISON)
            wait_until_folded(settings)
            with relaying(settings):
                wait_until_published(settings)
    assert_topics_equal_tables(settings)


def wait_until(settings: Settings, so: object) -> None:
    """Wait until the relay's record is so."""
    wait_for(settings.need("projector_url"), lambda _: (record := read_record(settings)) and so(record))


def test_readers_of_a_stream_that_nobody_knows_are_told_and_nothing_is_left_out(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(settings) as house, projecting(settings):
        register(house.office(), "T1")
        strange = append(settings, TENANT, "spaceships", "S1", "spaceships.launched.v1", b"{}")
        wait_until_folded(settings)
        with relaying(settings):
            wait_for(
                settings.need("projector_url"),
                lambda _: any("spaceships" in getattr(line, "reason", "") for line in caplog.records),
            )
    record = read_record(settings)
    assert record is not None
    assert record.log < strange


def test_topics_without_a_record_stop_the_relay_with_a_sentence(house: House, settings: Settings) -> None:
    register(house.office(), "T1")
    wait_until_folded(settings)
    with relaying(settings):
        wait_until_published(settings)
    topics = Topics(settings.topic_prefix)
    admin(settings).delete_topics([topics.relay])
    wait_for(settings.need("projector_url"), lambda _: topics.relay not in admin(settings).list_topics())
    said = subprocess.run(
        [sys.executable, "-m", "infra", "relay"],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 1
    assert f"{topics.relay} does not say until which position" in " ".join(said.stderr.split())


def write_record(settings: Settings, value: bytes | None, *, commit: bool, times: int = 1) -> None:
    """Write to the topic of the relay's record what a relay that ended, or a stranger, may leave there."""
    topics = Topics(settings.topic_prefix)
    with closing(admin(settings)) as making:
        TopicMaker(making, topics, settings).ensure([topics.relay])
    with closing(producer(settings, topics.relay)) as writing:
        writing.init_transactions()
        for _ in range(times):
            writing.begin_transaction()
            writing.send(topics.relay, value=value, key=KEY).get(timeout=10)
            writing.commit_transaction() if commit else writing.abort_transaction()


def test_a_first_record_that_was_undone_is_written_again(settings: Settings) -> None:
    write_record(settings, encode(Record()), commit=False)
    with relaying(settings):
        wait_until_published(settings)


def test_a_record_that_was_undone_counts_for_nothing(settings: Settings) -> None:
    write_record(settings, encode(Record(log=7)), commit=True)
    write_record(settings, encode(Record(log=8)), commit=False, times=NEAR)
    assert read_record(settings) == Record(log=7)


@pytest.mark.parametrize("value", [b"hello", b'{"log": "all"}', None])
def test_a_record_that_no_relay_wrote_stops_the_relay_with_a_sentence(settings: Settings, value: bytes | None) -> None:
    write_record(settings, value, commit=True)
    with pytest.raises(RelayError, match="holds at offset 0 what no relay of this version wrote"):
        Relay(settings).run()
    assert "holds at offset 0" in status(settings)["relay"]["unknown"]


def test_a_record_in_several_partitions_stops_the_relay_with_a_sentence(settings: Settings) -> None:
    admin(settings).create_topics({Topics(settings.topic_prefix).relay: {"num_partitions": 2, "replication_factor": 1}})
    with pytest.raises(RelayError, match="must have one partition, but has 2"):
        Relay(settings).run()


def test_positions_at_which_no_row_changed_are_passed_at_once(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.kafka.relay.WINDOW", 2)
    monkeypatch.setattr("infra.kafka.relay.QUIET_S", float("inf"))
    with relaying(settings):
        wait_until(settings, lambda record: record.views.keys() == CONTEXTS.keys())
    for number in range(10):
        register(house.office(), f"T{number}")
    wait_until_folded(settings)
    with relaying(settings):
        wait_until(settings, lambda record: record.views["tenants"].position >= head(settings) - 2)


def test_a_fill_that_was_cut_short_is_begun_anew(house: House, settings: Settings) -> None:
    register(house.office(), "T1")
    wait_until_folded(settings)
    with relaying(settings):
        record = wait_until_published(settings)
    cut = Record(record.log, {name: replace(one, complete=False) for name, one in record.views.items()})
    write_record(settings, encode(cut), commit=True)
    with relaying(settings):
        wait_until_published(settings)
    assert_topics_equal_tables(settings)
    assert_every_fact_once_and_in_order(settings)


def test_a_topic_of_facts_that_was_deleted_stops_the_relay_with_a_sentence(house: House, settings: Settings) -> None:
    register(house.office(), "T1")
    with relaying(settings):
        wait_until_published(settings)
    delete(settings, Topics(settings.topic_prefix).facts("trips"))
    with pytest.raises(RelayError, match=r"facts.trips was not there, though facts until position \d+ are published"):
        Relay(settings).run()


def test_a_topic_of_rows_that_was_deleted_is_filled_again(house: House, settings: Settings) -> None:
    Day(house.office()).begin()
    wait_until_folded(settings)
    with relaying(settings):
        wait_until_published(settings)
    delete(settings, Topics(settings.topic_prefix).view("drivers", TRIPS))
    with relaying(settings):
        wait_for(settings.need("projector_url"), lambda _: rows(settings, ("drivers", TRIPS))["drivers"])
        wait_until_published(settings)
    assert_topics_equal_tables(settings)
    assert_every_fact_once_and_in_order(settings)


def test_a_record_of_a_context_that_is_no_more_is_taken_without_it(house: House, settings: Settings) -> None:
    register(house.office(), "T1")
    wait_until_folded(settings)
    with relaying(settings):
        record = wait_until_published(settings)
    former = {**record.views, "spaceships": record.views["trips"]}
    write_record(settings, encode(Record(record.log, former)), commit=True)
    register(house.office(), "T2")
    with relaying(settings):
        assert wait_until_published(settings).views.keys() == CONTEXTS.keys()
    assert_topics_equal_tables(settings)


def delete(settings: Settings, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    with closing(admin(settings)) as making:
        making.delete_topics([topic])
        wait_for(settings.need("projector_url"), lambda _: topic not in making.list_topics())


def test_topics_of_another_log_stop_the_relay_with_a_sentence(house: House, settings: Settings) -> None:
    register(house.office(), "T1")
    with relaying(settings):
        wait_for(settings.need("projector_url"), lambda _: published(settings) == head(settings))
    shorter = settings.model_copy(update={"relay_url": type(settings.relay_url)(_template(settings))})
    with pytest.raises(RelayError, match="these topics are of another log"):
        Relay(shorter).run()


def _template(settings: Settings) -> str:
    """Return the URL of a database whose log is empty."""
    url = str(settings.need("relay_url"))
    left, _, right = url.partition("?")
    return f"{left.rpartition('/')[0]}/fieldlog_template?{right}"


def test_wrong_options_of_kafka_are_named(settings: Settings) -> None:
    wrong = settings.model_copy(update={"kafka_options": type(settings.kafka_options)('{"security_protocl": "SSL"}')})
    with pytest.raises(SettingsError, match="security_protocl"):
        admin(wrong)


def test_every_topic_is_there_before_anything_happens(settings: Settings) -> None:
    with relaying(settings):
        wait_for(settings.need("projector_url"), lambda _: read_record(settings))
    topics = Topics(settings.topic_prefix)
    views = {topics.view(view.name, context.version) for context in CONTEXTS.values() for view in context.views}
    there = {topic for topic in admin(settings).list_topics() if topic.startswith(settings.topic_prefix)}
    assert there == {topics.relay, *topics.all_facts(), *views}


def test_the_relay_says_how_it_is(settings: Settings) -> None:
    with serving(settings) as house, process(settings, "relay") as relay, process(settings, "relay") as other:
        position = register(house.office(), "T1")

        def leases() -> list[str] | None:
            said = [checks(one) for one in (relay, other)]
            ready = all(one.get("outbox") == "lags 0.0 s" for one in said)
            return sorted(one["lease"] for one in said) if ready and published(settings) == position else None

        assert wait_for(settings.need("projector_url"), lambda _: leases()) == ["stands by", "works"]
        told = [httpx.get(f"http://127.0.0.1:{one.port}/metrics").text for one in (relay, other)]
    for number in ("relay_position", 'relay_published_total{kind="fact"}'):
        assert sum(f"{number} {float(position)}\n" in one for one in told) == 1, number
    assert all("\noutbox_oldest_seconds 0.0\n" in one for one in told)


def published(settings: Settings) -> int:
    """Return how far the relay says it has published."""
    return (read_record(settings) or Record()).log


def test_what_waits_is_told_while_kafka_is_away(settings: Settings) -> None:
    nowhere = {"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}", "max_lag_seconds": 0.2}
    with serving(settings) as house, process(settings.model_copy(update=nowhere), "relay") as relay:
        register(house.office(), "T1")
        wait_for(
            settings.need("projector_url"),
            lambda _: checks(relay).get("outbox", "").startswith("failed: RuntimeError: the relay lags by "),
        )


def checks(process: Process) -> dict[str, str]:
    """Return what each check of a process says; nothing, if it does not answer yet."""
    try:
        said: dict[str, str] = httpx.get(f"http://127.0.0.1:{process.port}/readyz?verbose").json()["checks"]
    except httpx.TransportError:
        return {}
    return said
