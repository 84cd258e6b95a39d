"""A real S3 service on loopback: versitygw over a directory, where it is installed.

`go install github.com/versity/versitygw/cmd/versitygw@latest` builds it.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.running import free_port, until

SERVER = shutil.which("versitygw")
BUCKET = "files"
needs_s3 = pytest.mark.skipif(SERVER is None, reason="versitygw is not here; files were kept in directories alone")


@contextmanager
def bucket(directory: Path) -> Iterator[dict[str, str]]:
    """Serve a bucket meanwhile; gives the settings that lead to it."""
    assert SERVER is not None
    (directory / BUCKET).mkdir(parents=True)
    port = free_port()
    command = [
        SERVER,
        "--port",
        f"127.0.0.1:{port}",
        "--access",
        "us",
        "--secret",
        "swordfish",
        "posix",
        str(directory),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def listens() -> bool | None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return None

        until(listens)
        options = {
            "endpoint": f"http://127.0.0.1:{port}",
            "region": "us-east-1",
            "access_key_id": "us",
            "secret_access_key": "swordfish",
        }
        yield {"objects": f"s3://{BUCKET}/here", "objects_options": json.dumps(options)}
    finally:
        process.kill()
        process.wait()


def files(directory: Path) -> list[str]:
    """Return all files below a directory, by their path in it; what a server keeps for itself is not among them."""
    found = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not path.parts[0].startswith("."))
