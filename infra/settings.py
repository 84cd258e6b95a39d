"""Settings: read once from the environment, frozen, secrets never printed."""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretBytes,
    SecretStr,
    ValidationError,
)

from infra.sniffing import KNOWN

PREFIX = "FIELDLOG_"
UNPREFIXED = frozenset({"REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "OTEL_EXPORTER_OTLP_ENDPOINT"})
BROKER = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\]):(?P<port>\d{1,5})", re.ASCII)


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what is allowed."""


def _key(value: object) -> bytes:
    key = b64decode(str(value), validate=True)
    if len(key) != 32:
        raise ValueError("must be 32 bytes in base64")
    return key


def _url(value: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(value.get_secret_value())
    except psycopg.Error:
        raise ValueError("must be the URL of a database, such as postgresql://login@host/name") from None
    return value


def _options(value: SecretStr) -> SecretStr:
    try:
        options = json.loads(value.get_secret_value())
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ValueError('must be a JSON object, such as {"security_protocol": "SSL"}')
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be the URL of a Redis: redis://host:port/0, rediss://... or unix://path")
    return value


def _networks(value: str) -> str:
    try:
        networks(value)
    except ValueError:
        raise ValueError("must be networks such as 10.0.0.0/8,fd00::/8") from None
    return value


def _brokers(value: str) -> str | None:
    brokers = [one.strip() for one in value.split(",") if one.strip()]
    found = [BROKER.fullmatch(one) for one in brokers]
    if not all(one is not None and 1 <= int(one["port"]) <= 65535 for one in found):
        raise ValueError("must be brokers such as kafka-1:9092,kafka-2:9092")
    return ",".join(brokers) or None


def _media_types(value: str) -> str:
    unknown = media_types(value) - KNOWN
    if unknown or not media_types(value):
        raise ValueError("must be types that files tell by their signature, such as image/png,application/pdf")
    return value


def media_types(text: str) -> frozenset[str]:
    """Return types that are written with commas between them."""
    return frozenset(one.strip() for one in text.split(",") if one.strip())


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return networks that are written with commas between them. Raises ValueError."""
    return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())


Key = Annotated[SecretBytes, BeforeValidator(_key)]
Url = Annotated[SecretStr, AfterValidator(_url)]
Brokers = Annotated[str, AfterValidator(_brokers)]
JsonObject = Annotated[SecretStr, AfterValidator(_options)]


Networks = Annotated[str, AfterValidator(_networks)]
MediaTypes = Annotated[str, AfterValidator(_media_types)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]


def variable(name: str) -> str:
    """Return the environment variable from which a setting is read."""
    return name.upper() if name.upper() in UNPREFIXED else f"{PREFIX}{name.upper()}"


class Settings(BaseModel):
    """Everything that can be set; each field is read from the variable that `variable` names."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    data: Path = Field(Path("data"), description="Directory of the local set-up, where no database URLs are set")
    database_url: Url | None = Field(None, description="Owner's URL of the database; only `migrate` uses it")
    writer_url: Url | None = Field(None, description="URL with which the write API and the reactor append")
    projector_url: Url | None = Field(
        None, description="URL with which projectors and the reactor read the log and write views"
    )
    reader_url: Url | None = Field(None, description="URL with which the read API reads, behind row-level security")
    relay_url: Url | None = Field(None, description="URL with which the relay reads the log and the changes of views")
    redis_url: RedisUrl | None = Field(
        None,
        description="URL of Redis; without it there is no shared cache, no rate limit, no presence and no edit lock",
    )
    limit_requests: int = Field(
        100, ge=0, description="Requests that one person may make per window, over both APIs; 0: no limit"
    )
    limit_points: int = Field(
        10_000,
        ge=0,
        description="GPS fixes that one person may send per window, which do not count as requests; 0: no limit",
    )
    limit_failed_auth: int = Field(
        30, ge=0, description="Requests without an accepted token that one address may make per window; 0: no limit"
    )
    limit_window_seconds: int = Field(60, ge=1, le=86_400, description="The window of all limits, in seconds")
    trusted_proxies: Networks = Field(
        "", description="Networks (CIDR, separated by commas) of proxies that are believed who they were called by"
    )
    proxy_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        "X-Forwarded-For", description="The header by which these proxies say so; the other one is never believed"
    )
    lock_seconds: int = Field(
        900, ge=1, le=86_400, description="How long an edit lock lasts if its holder does not extend it"
    )
    kafka_bootstrap_servers: Brokers | None = Field(
        None, description="Brokers to which the relay publishes, `host:port` with commas between them"
    )
    kafka_options: JsonObject = Field(
        default_factory=lambda: SecretStr("{}"),
        description="Further options of kafka-python's clients as JSON, such as `security_protocol`",
    )
    kafka_partitions: int = Field(6, ge=1, le=1_000, description="Partitions of topics that the relay makes")
    kafka_replication: int = Field(1, ge=1, le=10, description="Replicas of topics that the relay makes")
    topic_prefix: str = Field(
        "fieldlog", pattern="^[a-zA-Z0-9._-]{1,100}$", description="What the names of all topics begin with"
    )
    source: str = Field(
        "fieldlog",
        pattern="^[A-Za-z0-9._~-]{1,100}$",
        description="Which Fieldlog this is: the last part of `source` on published events",
    )
    objects: str | None = Field(
        None,
        min_length=1,
        description="Where attached files are kept: a directory, or `s3://bucket/prefix`; in the directory of data by default",
    )
    objects_options: JsonObject = Field(
        default_factory=lambda: SecretStr("{}"),
        description="Options of obstore's S3 store as JSON: `endpoint`, `access_key_id`, `secret_access_key`, `region`",
    )
    upload_bytes: int = Field(
        10_485_760, ge=1, le=5 * 1024**3, description="Largest file that may be attached, in bytes"
    )
    upload_part_bytes: int = Field(
        10_485_760, ge=1024**2, le=1024**3, description="Largest part in which a file is sent, in bytes"
    )
    upload_types: MediaTypes = Field(
        "image/jpeg,image/png,image/webp,image/heic,image/gif,application/pdf",
        description="Types of files that may be attached, by their signature, separated by commas",
    )
    master_key: Key | None = Field(None, description="Wraps the keys of personal data: 32 bytes in base64")
    cursor_key: Key | None = Field(None, description="Signs page cursors and stream tickets: 32 bytes in base64")
    jwks: str | None = Field(None, description="Where the public keys of tokens are: an https URL, or a file")
    signing_key: Path | None = Field(
        None, description="File with the private JWK with which `token` signs (local set-ups only)"
    )
    token_issuer: str = Field("fieldlog", description="The `iss` that tokens must carry")
    token_audience: str = Field("fieldlog", description="The `aud` that tokens must carry")
    host: str = Field("127.0.0.1", description="Address on which every process listens")
    problems: str | None = Field(
        None, description="Base URL of the pages that describe problems; the write API's own by default"
    )
    schemas: str | None = Field(
        None,
        pattern="^https?://[^/]+/(.*/)?$",
        description="Base URL of the schemas of facts and rows, ending in a slash; the read API's own by default",
    )
    cors_origins: str = Field("", description="Origins whose pages may call the APIs, separated by commas; * is any")
    write_port: int = Field(8001, ge=1, le=65535, description="Port of the write API")
    read_port: int = Field(8002, ge=1, le=65535, description="Port of the read API")
    projector_port: int = Field(8003, ge=1, le=65535, description="Port of the projector's health and metrics")
    reactor_port: int = Field(8004, ge=1, le=65535, description="Port of the reactor's health and metrics")
    relay_port: int = Field(8005, ge=1, le=65535, description="Port of the relay's health and metrics")
    drain_seconds: float = Field(
        5.0,
        ge=0,
        le=600,
        description="How long an API that is told to end (SIGTERM) says so in /readyz, and still answers, before it does",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body, in bytes")
    max_queued: int = Field(
        2_000, ge=1, description="Appends that may wait in one write process; more are answered 503"
    )
    state_cache_mb: int = Field(
        64, ge=1, description="Folded states that one write process remembers, in MiB of their facts"
    )
    row_cache_rows: int = Field(200_000, ge=1_000, description="View rows that one projector remembers")
    maven_url: str = Field(
        "https://repo1.maven.org/maven2", description="Where a local set-up fetches Kafka from, by Maven coordinates"
    )
    site_radius_m: float = Field(
        200.0, gt=0, le=10_000, description="How near to a site a stop counts as dwell there, in metres"
    )
    changes_days: int = Field(30, ge=1, description="How long former states of view rows are kept, in days")
    grace_seconds: float = Field(
        60.0, ge=0, description="How long the former version of a view is still served after a switch"
    )
    max_lag_seconds: float = Field(30.0, gt=0, description="Lag of a view from which on the read API is not ready")
    read_connections: int = Field(8, ge=1, le=200, description="Connections to the database of one read API")
    position_wait_seconds: float = Field(5.0, gt=0, le=60, description="Longest wait for If-Position-At-Least")
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="Where traces are sent, by OTLP over HTTP; `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*` are heeded",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level of log lines")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read all settings. Raises SettingsError naming each wrong one."""
        given = {name: environment[key] for name in cls.model_fields if (key := variable(name)) in environment}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = "; ".join(f"{variable(str(one['loc'][0]))}: {one['msg']}" for one in error.errors())
            raise SettingsError(wrong) from None

    @property
    def problems_url(self) -> str:
        """Where the pages that describe problems are."""
        return self.problems or f"http://{self.host}:{self.write_port}/problems/"

    @property
    def schemas_url(self) -> str:
        """Where the schemas of facts and rows are."""
        return self.schemas or f"http://{self.host}:{self.read_port}/schemas/"

    @property
    def objects_place(self) -> str:
        """Where attached files are kept."""
        return self.objects or str(self.data / "objects")

    def redis(self) -> str | None:
        """Return the URL of Redis, if one is set."""
        return self.redis_url.get_secret_value() if self.redis_url is not None else None

    def need(self, name: str) -> Any:
        """Return a setting that this process cannot do without. Raises SettingsError if it is not set."""
        value = getattr(self, name)
        if value is None:
            raise SettingsError(f"{variable(name)} is not set: {type(self).model_fields[name].description}")
        return value.get_secret_value() if isinstance(value, SecretStr | SecretBytes) else value
