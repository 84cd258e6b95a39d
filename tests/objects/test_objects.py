"""The place where files are kept, in a directory and in a bucket: whole or not at all, and thrown away without a rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.objects import NoObjectError, Objects, ObjectsError, new_key, part_of
from infra.settings import Settings, SettingsError
from tests.conftest import TENANT
from tests.objects.s3 import files

pytestmark = pytest.mark.anyio
MIB = 1024**2
KEY = new_key(TENANT)


async def chunks(*parts: bytes, fail: bool = False) -> AsyncIterator[bytes]:
    for one in parts:
        yield one
    if fail:
        raise ValueError("it breaks off")


async def read(objects: Objects, key: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in objects.read(key, start, end)])


async def test_what_is_written_is_read(anywhere: Settings) -> None:
    objects = Objects(anywhere)
    pieces = [bytes([n]) * MIB for n in range(12)]
    await objects.put(KEY, chunks(*pieces))
    assert await objects.size(KEY) == 12 * MIB
    assert await read(objects, KEY, 0, 12 * MIB) == b"".join(pieces)
    assert await read(objects, KEY, MIB - 1, MIB + 2) == b"\0\1\1"


async def test_what_breaks_off_is_not_there(anywhere: Settings) -> None:
    objects = Objects(anywhere)
    with pytest.raises(ValueError, match="breaks off"):
        await objects.put(KEY, chunks(b"x" * 6 * MIB, b"y" * 6 * MIB, fail=True))
    assert await objects.size(KEY) is None
    with pytest.raises(NoObjectError):
        await read(objects, KEY, 0, 1)


async def test_what_is_cancelled_is_not_there(settings: Settings, tmp_path: Path) -> None:
    objects, begun = Objects(settings), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 6 * MIB
        begun.set()
        await asyncio.Event().wait()
        yield b""

    writing = asyncio.create_task(objects.put(KEY, endless()))
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await objects.size(KEY) is None
    assert files(tmp_path / "objects") == []


async def test_the_same_bytes_may_be_written_again(anywhere: Settings) -> None:
    objects = Objects(anywhere)
    for _ in range(2):
        await objects.put(part_of(KEY, 1), chunks(b"abc"))
    assert await read(objects, part_of(KEY, 1), 0, 3) == b"abc"


async def test_parts_are_thrown_away_and_the_file_stays(anywhere: Settings, tmp_path: Path) -> None:
    objects, other = Objects(anywhere), new_key(TENANT)
    for key in (KEY, part_of(KEY, 1), part_of(KEY, 2), other):
        await objects.put(key, chunks(b"abc"))
    for _ in range(2):
        await objects.forget_parts(KEY)
    assert [await objects.size(key) for key in (KEY, part_of(KEY, 1), other)] == [3, None, 3]
    for _ in range(2):
        await objects.forget(KEY)
    assert [await objects.size(key) for key in (KEY, other)] == [None, 3]
    assert [one for one in files(tmp_path) if KEY.rpartition("/")[0] in one] == []


async def test_what_a_killed_process_left_is_thrown_away_too(settings: Settings, tmp_path: Path) -> None:
    objects = Objects(settings)
    await objects.put(KEY, chunks(b"abc"))
    half = tmp_path / "objects" / f"{KEY}#1"  # so obstore names what it writes
    for forget, left in ((objects.forget_parts, [KEY]), (objects.forget, [])):
        half.write_bytes(b"x")
        await forget(KEY)
        assert files(tmp_path / "objects") == left


async def test_nothing_is_forgotten_but_files(settings: Settings) -> None:
    for key in ("", "content", f"{TENANT}", f"{TENANT}/attachments/1", "../content/x"):
        with pytest.raises(ValueError, match="no key"):
            await Objects(settings).forget(key)


async def test_a_place_that_cannot_be_had_is_said_so(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    options = SecretStr('{"endpoint": "http://127.0.0.1:9", "access_key_id": "a", "secret_access_key": "b"}')
    for change in ({"objects": str(tmp_path / "file")}, {"objects": "s3://files", "objects_options": options}):
        objects = Objects(settings.model_copy(update=change))
        with pytest.raises(ObjectsError):
            await objects.put(KEY, chunks(b"abc"))


def test_types_are_those_that_files_tell_by_themselves() -> None:
    for wrong in ("text/html", "image/png,text/plain", "", "image/*"):
        with pytest.raises(SettingsError, match=r"FIELDLOG_UPLOAD_TYPES: .*by their signature"):
            Settings.from_environment({"FIELDLOG_UPLOAD_TYPES": wrong})
