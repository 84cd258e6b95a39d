"""Bytes and fact do not part: the process is killed between them, and the fact never stands without its bytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import httpx
import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from domain.roles import Role
from infra.objects import Objects
from infra.settings import Settings
from tests.objects.evidence import MIB, File, bytes_of, pieces, scrutineering
from tests.objects.holding import holding
from tests.objects.test_uploads import facts_of, kept_of, key_of, read
from tests.running import free_port, until
from tests.views.house import House, Person, Process, open_house, process

LARGE = 100 * MIB
STORED = b"attachments.stored.v1"
WHATS: tuple[Literal["message", "answer"], ...] = ("message", "answer")


@pytest.fixture
def house(anywhere: Settings) -> Iterator[House]:
    with open_house(anywhere) as house:
        yield house


def sockets(settings: Settings) -> Path:
    return Path(str(conninfo_to_dict(settings.need("writer_url"))["host"]))


@contextmanager
def through(house: House, directory: str) -> Iterator[tuple[Process, Person]]:
    """Run another write API, a process that reaches its database through a directory; gives it, and who sends to it."""
    url = house.settings.need("writer_url").replace(str(sockets(house.settings)), directory)
    port = free_port()
    settings = house.settings.model_copy(update={"writer_url": SecretStr(url), "write_port": port})
    with process(settings, "write-api") as running:
        sender = house.person(Role.SCRUTINEER, subject="sam")
        sender.write.http.base_url = httpx.URL(f"http://127.0.0.1:{port}")

        def started() -> bool | None:
            with suppress(httpx.TransportError):
                return sender.write.get("/startupz").status_code == httpx.codes.OK or None
            return None

        until(started)
        yield running, sender


@contextmanager
def completing(sender: Person, file: File) -> Iterator[None]:
    """Ask meanwhile for a file to be completed; nobody hears the answer."""

    def ask() -> None:
        with suppress(httpx.TransportError):
            sender.write.ask(f"/uploads/{file.id}/complete")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def is_whole(house: House, file: File) -> bool:
    """Say whether the bytes of a file are under its key."""
    return asyncio.run(Objects(house.settings).size(key_of(house, file))) == file.size


def test_killed_between_the_bytes_and_the_fact_or_the_fact_and_its_answer(house: House) -> None:
    """The append is held back, or its answer is, and then the process is gone. Then it is asked once more elsewhere."""
    crew = scrutineering(house)
    for what in WHATS:
        file = File(bytes_of(3 * MIB))
        with (
            holding(sockets(house.settings), STORED, what) as between,
            through(house, between.directory) as (running, sender),
        ):
            file.declared(sender)
            file.part(sender)
            with completing(sender, file):
                assert between.held.wait(20)
                if what == "answer":
                    until(lambda: STORED.decode() in facts_of(house, file) or None)  # noqa: B023
                running.kill()
        assert is_whole(house, file)
        assert (STORED.decode() in facts_of(house, file)) is (what == "answer")
        assert file.complete(crew).status_code == httpx.codes.OK
        assert facts_of(house, file) == ["attachments.declared.v1", STORED.decode()]
        assert read(crew, file).content == file.content
        if not house.settings.objects_place.startswith("s3://"):
            assert kept_of(house, file) == ["content"]


def test_killed_at_any_moment_no_fact_is_without_its_bytes(settings: Settings) -> None:
    """Somewhere between the last byte of a part and the answer: a little later each time."""
    with open_house(settings) as house:
        crew, found = scrutineering(house), []
        for moment_ms in (0, 10, 20, 30, 45, 60, 100):
            file = File(bytes_of(8 * MIB))
            with through(house, str(sockets(settings))) as (running, sender):
                file.declared(sender)
                file.part(sender)
                with completing(sender, file):
                    threading.Event().wait(moment_ms / 1_000)
                    running.kill()
            found.append((is_whole(house, file), STORED.decode() in facts_of(house, file)))
            assert file.complete(crew).status_code == httpx.codes.OK
            assert read(crew, file).content == file.content
            assert kept_of(house, file) == ["content"]
        print(f"bytes and fact after each kill: {found}")
        assert (False, True) not in found


def test_killed_in_the_middle_of_a_part_it_is_not_there(settings: Settings) -> None:
    with open_house(settings) as house:
        crew, file = scrutineering(house), File(bytes_of(8 * MIB))
        with through(house, str(sockets(settings))) as (running, sender):
            file.declared(sender)
            content = pieces(file.content)

            def half() -> Iterator[bytes]:
                for number, piece in enumerate(content):
                    if number == 64:
                        until(lambda: kept_of(house, file) or None)
                        running.kill()
                    yield piece

            with pytest.raises(httpx.TransportError):
                file.part(sender, content=half())
        assert kept_of(house, file) == ["parts/1#1"], "half of a part is left, under no name that anybody reads"
        assert file.complete(crew).json()["missing"] == [1]
        assert file.part(crew).status_code == httpx.codes.NO_CONTENT
        assert file.complete(crew).status_code == httpx.codes.OK
        assert kept_of(house, file) == ["content"]


def test_a_hundred_megabytes_come_in_parts_and_do_not_fill_the_memory(anywhere: Settings) -> None:
    settings = anywhere.model_copy(update={"upload_bytes": LARGE})
    with open_house(settings) as house:
        crew, file = scrutineering(house), File(bytes_of(LARGE))
        with through(house, str(sockets(settings))) as (running, sender):
            File(bytes_of(10 * MIB)).sent(sender)
            memory = psutil.Process(running.process.pid).memory_info
            before, most, done = memory().rss, [0], threading.Event()

            def look() -> None:
                while not done.wait(0.01):
                    most[0] = max(most[0], memory().rss)

            looking = threading.Thread(target=look)
            looking.start()
            try:
                file.sent(sender)
            finally:
                done.set()
                looking.join()
            crew.position = sender.position
        grown = (most[0] - before) / MIB
        print(f"grown by {grown:.0f} MiB while {LARGE // MIB} MiB came in")
        assert grown < LARGE / MIB / 2
        with crew.read.http.stream("GET", f"/attachments/{file.id}/content", timeout=60) as answer:
            assert b"".join(answer.iter_bytes()) == file.content
