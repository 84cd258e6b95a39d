"""Files, as objects in a directory or in a bucket of any S3 service: none is there before all of it is.

A file has a folder of its own: its key is the object `content` in it; beside that are its parts, until it is complete.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store
from uuid_utils import compat

from infra.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

CONTENT = "content"
READ_BYTES = 4 * 1024**2  # held in memory for each file that is read
WRITE_BYTES = 5 * 1024**2  # the least that S3 takes as a part of an object
WRITES = 2
PATIENCE: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


class ObjectsError(Exception):
    """The place where files are kept does not answer, or takes no more."""


class NoObjectError(Exception):
    """There is no such object."""


def new_key(tenant: UUID) -> str:
    """Return a key for a file of an organisation that no other file has."""
    return f"{tenant}/attachments/{compat.uuid7()}/{CONTENT}"


def part_of(key: str, number: int) -> str:
    """Return where a part of a file is kept until the file is complete."""
    return f"{_folder(key)}/parts/{number}"


def _folder(key: str) -> str:
    folder, _, name = key.rpartition("/")
    if not folder or name != CONTENT:
        raise ValueError(f"{key!r} is no key of a file")
    return folder


class Objects:
    """The place where files are kept."""

    def __init__(self, settings: Settings) -> None:
        where, self._options = settings.objects_place, settings.objects_options
        self._url = where if where.startswith("s3://") else None
        self._directory = None if self._url else Path(where)

    @cached_property
    def _store(self) -> ObjectStore:
        if self._url is None:
            return LocalStore(self._directory, mkdir=True)
        options = json.loads(self._options.get_secret_value())
        plain = str(options.get("endpoint", "")).startswith("http://")
        client: ClientConfig = {"allow_http": plain, "connect_timeout": timedelta(seconds=5)}
        return S3Store.from_url(self._url, config=options, client_options=client, retry_config=PATIENCE)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write an object; it is there for good, and as a whole, when this returns. What `chunks` raises leaves nothing.

        Raises ObjectsError.
        """
        with _telling():
            await obstore.put_async(self._store, key, chunks, chunk_size=WRITE_BYTES, max_concurrency=WRITES)
            if self._directory is not None:
                await asyncio.to_thread(_sync, self._directory, self._directory / key)

    async def size(self, key: str) -> int | None:
        """Return how many bytes an object has; None if it is not there. Raises ObjectsError."""
        with suppress(NoObjectError), _telling():
            return (await obstore.head_async(self._store, key))["size"]
        return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes of an object from `start` to before `end`. Raises NoObjectError, ObjectsError.

        Each piece is asked for by itself, so a slow reader keeps no request waiting.
        """
        while start < end:
            with _telling():
                length = min(end - start, READ_BYTES)
                piece = bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
            if not piece:
                raise ObjectsError(f"{key} is shorter than it was")
            start += len(piece)
            yield piece

    async def forget(self, key: str) -> None:
        """Throw a file away, with its parts and what broken writes have left. Raises ObjectsError."""
        await self._empty(_folder(key), keep=None)

    async def forget_parts(self, key: str) -> None:
        """Throw away what is beside a file that is complete. Raises ObjectsError."""
        await self._empty(_folder(key), keep=key)

    async def _empty(self, folder: str, keep: str | None) -> None:
        with _telling():
            if self._directory is not None:
                await asyncio.to_thread(_remove, self._directory / folder, CONTENT if keep is not None else None)
                return
            async for batch in obstore.list(self._store, folder):
                gone: Sequence[str] = [one["path"] for one in batch if one["path"] != keep]
                if gone:
                    await obstore.delete_async(self._store, gone)


@contextmanager
def _telling() -> Iterator[None]:
    """Tell what a store says in our own words."""
    try:
        yield
    except FileNotFoundError as error:
        raise NoObjectError(str(error)) from error
    except (BaseError, OSError) as error:
        raise ObjectsError(str(error).partition("\n")[0]) from error


def _sync(top: Path, file: Path) -> None:
    """Let a file, and the folders that lead to it, survive a power cut."""
    for path in (file, *file.parents):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path == top:
            return


def _remove(folder: Path, keep: str | None) -> None:
    """Remove a folder, or what is in it beside a file that is kept; others may be doing the same."""
    if keep is None:
        shutil.rmtree(folder, onerror=_unless_gone)
        return
    for one in folder.iterdir() if folder.exists() else ():
        if one.is_dir():
            shutil.rmtree(one, onerror=_unless_gone)
        elif one.name != keep:
            one.unlink(missing_ok=True)


def _unless_gone(_: object, __: object, failure: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
