"""Settings that keep files in a directory of the test's own, and in a bucket where there is an S3 service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.settings import Settings
from tests.objects.s3 import bucket, needs_s3


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings over a fresh database, with files in a directory of their own."""
    return settings.model_copy(update={"objects": str(tmp_path / "objects")})


@pytest.fixture(params=["directory", pytest.param("s3", marks=needs_s3)])
def anywhere(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The same settings, and once more with files in a bucket."""
    if request.param == "directory":
        yield settings
        return
    with bucket(tmp_path / "s3") as place:
        options = SecretStr(place["objects_options"])
        yield settings.model_copy(update={"objects": place["objects"], "objects_options": options})


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that processes of the house have."""
    return "asyncio", {"use_uvloop": True}
