"""The data directory of a local set-up: the database, Redis's socket, files, and the keys that are made at its first start."""

from __future__ import annotations

import json
import os
import time
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from joserfc import jwk, jwt

from domain.roles import Role
from infra.database import LOGINS
from infra.local.kafka import Kafka
from infra.local.postgres import Postgres
from infra.local.redis import RedisServer
from infra.settings import Settings

HOUR_S = 3600
ALGORITHM = "ES256"


def has_home(directory: Path) -> bool:
    """Say whether a local set-up was made in a directory."""
    return (directory / "signing.jwk").exists()


class Home:
    """A directory that holds everything of one local set-up; a second start finds it again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.postgres = Postgres(self.directory / "postgres")
        self.kafka = Kafka(self.directory / "kafka")
        self.redis = RedisServer(self.directory / "redis")

    def environment_with_ours(self) -> dict[str, str]:
        """Return the environment of this process with the settings of this set-up, where it has none of its own."""
        return {**self.environment(), **os.environ}

    def environment(self) -> dict[str, str]:
        """Return the settings of this set-up as environment variables; keys are made where they are missing."""
        postgres = self.postgres
        return {
            "FIELDLOG_DATABASE_URL": postgres.url(),
            **{f"FIELDLOG_{login.removeprefix('fieldlog_').upper()}_URL": postgres.url(login) for login in LOGINS},
            "FIELDLOG_MASTER_KEY": self._secret("master.key"),
            "FIELDLOG_CURSOR_KEY": self._secret("cursor.key"),
            "FIELDLOG_SIGNING_KEY": str(self._signing_key()),
            "FIELDLOG_JWKS": str(self.directory / "jwks.json"),
            "FIELDLOG_CORS_ORIGINS": "*",
            "FIELDLOG_OBJECTS": str(self.directory / "objects"),
            **({"KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap} if self.kafka.running() else {}),
            "REDIS_URL": self.redis.url(),
        }

    def _secret(self, name: str) -> str:
        file = self.directory / name
        if not file.exists():
            _write_private(file, b64encode(os.urandom(32)).decode())
        return file.read_text()

    def _signing_key(self) -> Path:
        file = self.directory / "signing.jwk"
        if not file.exists():
            key = jwk.ECKey.generate_key("P-256", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)
            _write_private(file, json.dumps(key.as_dict(private=True)))
            (self.directory / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
        return file


def issue_token(settings: Settings, tenant_id: UUID, roles: Iterable[Role], subject: str, hours: float) -> str:
    """Return an access token (RFC 9068) signed with this set-up's own key. Raises SettingsError if there is none."""
    key = jwk.ECKey.import_key(json.loads(Path(settings.need("signing_key")).read_text()))
    now = int(time.time())
    claims = {
        "iss": settings.token_issuer,
        "aud": settings.token_audience,
        "sub": subject,
        "tenant": str(tenant_id),
        "roles": [role.value for role in roles],
        "iat": now,
        "exp": now + int(hours * HOUR_S),
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid, "typ": "at+jwt"}, claims, key, algorithms=[ALGORITHM])


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
