"""Bearer tokens: RFC 9068 access tokens, checked as RFC 8725 asks, against the keys of a JWKS file or URL.

The last good keys are kept while their source is away. An unknown key id leads to at most one more fetch in 30 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from domain.roles import Actor, Role
from infra.web.edge import Scope, header
from infra.web.problems import UNAUTHENTICATED, ProblemError

log = logging.getLogger(__name__)

ALGORITHMS = ["ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256"]
TYPES = {"at+jwt", "application/at+jwt"}
LEEWAY_S = 30
REFRESH_S = 600.0
UNKNOWN_KEY_PAUSE_S = 30.0
LARGEST_JWKS = 262_144
REMEMBERED = 10_000
SPOKEN_FOR = frozenset({Role.SYSTEM})


class TokenError(Exception):
    """A token is not accepted; the message says why."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request: the actor, the organisation, the session that the token belongs to, and a name to show."""

    actor: Actor
    tenant_id: UUID
    session: str | None
    expires: float
    roles: tuple[str, ...]
    tenant: str
    name: str | None = None

    @classmethod
    def of(
        cls, actor: Actor, tenant_id: UUID, session: str | None, expires: float, name: str | None = None
    ) -> Principal:
        """Return a principal with what every request needs of it: the sorted roles, and the tenant's id as text."""
        return cls(actor, tenant_id, session, expires, tuple(sorted(actor.roles)), str(tenant_id), name)


class Keys:
    """The public keys of tokens, from a file or an https URL (http on loopback)."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._url = source if "://" in source else None
        if self._url is not None and not _is_safe(self._url):
            raise ValueError(f"keys are fetched over https, not from {source}")
        self._set: jwk.KeySet | None = None
        self._asked_unknown = -UNKNOWN_KEY_PAUSE_S
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read the keys; on failure the last good ones are kept. Raises the failure where there are none yet."""
        try:
            document = await self._fetch() if self._url else await asyncio.to_thread(Path(self._source).read_bytes)
            self._set = _key_set(document)
        except (OSError, ValueError, httpx.HTTPError) as error:
            if self._set is None:
                raise
            log.warning("token keys not refreshed", extra={"reason": f"{type(error).__name__}: {error}"})

    async def refresh(self) -> None:
        """Read the keys again now and then, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.load()

    async def for_token(self, key_id: str | None) -> jwk.KeySet:
        """Return the keys, fetched anew if this key id is unknown and that was not tried just now."""
        async with self._lock:
            if self._set is None:
                await self.load()
            known = self._set is not None and (key_id is None or any(key.kid == key_id for key in self._set.keys))
            if not known and time.monotonic() - self._asked_unknown > UNKNOWN_KEY_PAUSE_S:
                self._asked_unknown = time.monotonic()
                await self.load()
        if self._set is None:
            raise TokenError("no keys are known")
        return self._set

    async def _fetch(self) -> bytes:
        async with httpx.AsyncClient(timeout=5) as client, client.stream("GET", str(self._url)) as answer:
            answer.raise_for_status()
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > LARGEST_JWKS:
                    raise ValueError("the key set is too large")
            return body


def _key_set(document: bytes) -> jwk.KeySet:
    try:
        return jwk.KeySet.import_key_set(json.loads(document))
    except (ValueError, LookupError, TypeError, JoseError) as error:
        raise ValueError(f"this is no key set: {type(error).__name__}: {error}") from error


class Tokens:
    """Checks tokens; one that was accepted is remembered until it expires."""

    def __init__(self, keys: Keys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._remembered: OrderedDict[str, Principal] = OrderedDict()
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    def known(self, token: str) -> Principal | None:
        """Return who sent a token that was accepted before and has not expired."""
        principal = self._remembered.get(token)
        return principal if principal is not None and principal.expires > time.time() else None

    async def check(self, token: str) -> Principal:
        """Return who sent this token. Raises TokenError."""
        known = self.known(token)
        if known is not None:
            return known
        try:
            principal = await self._check(token)
        except (JoseError, ValueError, OverflowError, TypeError, LookupError, AttributeError) as error:
            raise TokenError(str(error) or type(error).__name__) from error
        self._remembered[token] = principal
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return principal

    async def _check(self, token: str) -> Principal:
        about = jws.extract_compact(token.encode("ascii")).headers()
        if str(about.get("typ", "")).lower() not in TYPES:
            raise TokenError("the token's typ is not at+jwt")
        keys = await self._keys.for_token(about.get("kid"))
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
        self._claims.validate(claims)
        return Principal.of(_actor(claims), _tenant(claims), _session(claims), float(claims["exp"]), _name(claims))


class Bearer:
    """Says who sends a request, by its bearer token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def __call__(self, scope: Scope) -> Principal:
        """Return who sends this request. Raises ProblemError."""
        sent = (header(scope, b"authorization") or b"").decode("latin-1")
        scheme, _, token = sent.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ProblemError(
                UNAUTHENTICATED, "Send Authorization: Bearer <token>.", headers={"WWW-Authenticate": "Bearer"}
            )
        return self._tokens.known(token) or await self.check(token)

    async def check(self, token: str) -> Principal:
        """Return who a token belongs to. Raises ProblemError."""
        try:
            return await self._tokens.check(token)
        except TokenError as error:
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise ProblemError(UNAUTHENTICATED, f"The token is not accepted: {error}", headers=challenge) from error


def _actor(claims: dict[str, Any]) -> Actor:
    subject, roles = claims["sub"], claims.get("roles", [])
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise TokenError("sub is text of at most 255 printable characters")
    if not isinstance(roles, list):
        raise TokenError("roles is a list")
    known = set()
    for role in roles:
        with contextlib.suppress(ValueError):  # an identity provider may speak of roles that mean nothing here
            known.add(Role(role))
    return Actor(subject, frozenset(known) - SPOKEN_FOR)


def _tenant(claims: dict[str, Any]) -> UUID:
    try:
        tenant = UUID(claims["tenant"])
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise TokenError("tenant is a UUID") from error
    if not tenant.int:
        raise TokenError("tenant is not the nil UUID")
    return tenant


def _session(claims: dict[str, Any]) -> str | None:
    session = claims.get("sid")
    return session[:255] if isinstance(session, str) else None


def _name(claims: dict[str, Any]) -> str | None:
    name = claims.get("name")
    return name[:200] if isinstance(name, str) and name.strip() and name.isprintable() else None


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    with contextlib.suppress(ValueError):
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    return False
