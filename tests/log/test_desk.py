"""Deciding: what one process, or two, may believe and answer."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest

from infra.log.order import ANY_VERSION, KeyReusedError, NoSuchRecordError, StaleVersionError
from infra.log.states import ENTRY_BYTES
from tests.conftest import Database
from tests.log.counting import Count, CountBoth, CountEven, Odd
from tests.log.desks import open_desk, order


def counts(database: Database) -> list[int]:
    """The counts in the log, in order."""
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute("select state from fieldlog.log order by notification_id").fetchall()
    return [json.loads(state)["n"] for (state,) in rows]


def test_two_hundred_concurrent_commands_on_one_stream_all_get_their_answer(database: Database) -> None:
    async def story() -> list[int]:
        async with open_desk(database.writer) as desk:
            receipts = await asyncio.gather(*(desk.carry_out(order("a", Count())) for _ in range(200)))
        return [receipt.version for receipt in receipts]

    assert sorted(asyncio.run(story())) == list(range(1, 201))
    assert counts(database) == list(range(1, 201))


def test_two_processes_on_one_stream_give_no_false_refusal(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as ours, open_desk(database.writer) as theirs:
            for _ in range(20):
                await ours.carry_out(order("a", Count()))
                await theirs.carry_out(order("a", Count()))
                await ours.carry_out(order("a", CountEven()))
                await theirs.carry_out(order("a", Count()))
                with pytest.raises(Odd):
                    await ours.carry_out(order("a", CountEven()))
                await ours.carry_out(order("a", Count()))

    asyncio.run(story())
    assert counts(database) == list(range(1, 121))


def test_two_processes_at_once_on_one_stream_both_get_through(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as ours, open_desk(database.writer) as theirs:
            await asyncio.gather(*(desk.carry_out(order("a", Count())) for _ in range(100) for desk in (ours, theirs)))

    asyncio.run(story())
    assert counts(database) == list(range(1, 201))


def test_a_command_behind_one_that_did_not_come_to_pass_is_decided_again(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as ours, open_desk(database.writer) as theirs:
            await ours.carry_out(order("a", Count()))
            await theirs.carry_out(order("a", Count()))
            await asyncio.gather(*(ours.carry_out(order("a", CountBoth(other="b"))) for _ in range(5)))

    asyncio.run(story())
    assert counts(database) == [1, 2, 3, 1, 4, 2, 5, 3, 6, 4, 7, 5]


def test_the_same_key_gives_the_first_receipt_again_even_where_the_command_would_now_be_refused(
    database: Database,
) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as desk, open_desk(database.writer) as other:
            first = await desk.carry_out(order("a", CountEven(), key="k"))
            await desk.carry_out(order("a", Count()))
            assert await desk.carry_out(order("a", CountEven(), key="k")) == first
            assert await other.carry_out(order("a", CountEven(), key="k")) == first

    asyncio.run(story())
    assert counts(database) == [1, 2, 3]


def test_the_same_key_at_the_same_time_counts_once(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as ours, open_desk(database.writer) as theirs:
            asked = [desk.carry_out(order("a", Count(), key="k")) for _ in range(10) for desk in (ours, theirs)]
            receipts = await asyncio.gather(*asked)
            assert {receipt.version for receipt in receipts} == {1}
            assert len({str(receipt.answer) for receipt in receipts}) == 1

    asyncio.run(story())
    assert counts(database) == [1]


def test_a_key_used_with_another_payload_is_named_so(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as desk:
            await desk.carry_out(order("a", CountBoth(other="b"), key="k"))
            with pytest.raises(KeyReusedError):
                await desk.carry_out(order("a", CountBoth(other="c"), key="k"))

    asyncio.run(story())


def test_an_expected_version_that_is_no_longer_so_leaves_everything_as_it_is(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer) as ours, open_desk(database.writer) as theirs:
            await ours.carry_out(order("a", Count(), if_match=None))
            await theirs.carry_out(order("a", Count(), if_match=1))
            with pytest.raises(StaleVersionError) as stale:
                await ours.carry_out(order("a", Count(), if_match=1))
            assert stale.value.current == 2
            await ours.carry_out(order("a", Count(), if_match=ANY_VERSION))
            with pytest.raises(StaleVersionError):
                await ours.carry_out(order("nothing", Count(), if_match=ANY_VERSION))

    asyncio.run(story())
    assert counts(database) == [1, 2, 3]


def test_a_command_that_creates_nothing_finds_no_record(database: Database) -> None:
    class CountOn(Count):
        """Count, but only what is there."""

        creates = False

    async def story() -> None:
        async with open_desk(database.writer) as desk:
            with pytest.raises(NoSuchRecordError):
                await desk.carry_out(order("a", CountOn()))

    asyncio.run(story())
    assert counts(database) == []


def test_a_process_with_little_memory_gives_the_same_answers(database: Database) -> None:
    async def story() -> None:
        async with open_desk(database.writer, most_bytes=5 * ENTRY_BYTES) as desk:
            for version in (1, 2, 3):
                ids = [str(number) for number in range(30)]
                receipts = await asyncio.gather(*(desk.carry_out(order(id, Count())) for id in ids))
                assert {receipt.version for receipt in receipts} == {version}
                assert desk._states.size <= 5 * ENTRY_BYTES + 1_000

    asyncio.run(story())
    assert len(counts(database)) == 90
