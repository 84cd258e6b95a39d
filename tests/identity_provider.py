"""A small identity provider for tests: keys of several kinds, tokens signed with them, and an address with its key set."""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwk, jwt
from joserfc.jwk import Key

from tests.conftest import TENANT

HOUR_S = 3600


def new_key(algorithm: str = "ES256") -> Key:
    """Return a key pair for an algorithm, with an id of its own."""
    parameters: Any = {"use": "sig", "alg": algorithm}
    match algorithm:
        case "ES256" | "ES384":
            curve = {"ES256": "P-256", "ES384": "P-384"}[algorithm]
            return jwk.ECKey.generate_key(curve, parameters=parameters, auto_kid=True)  # type: ignore[arg-type]
        case "EdDSA" | "Ed25519":
            return jwk.OKPKey.generate_key("Ed25519", parameters=parameters, auto_kid=True)
    return jwk.RSAKey.generate_key(2048, parameters=parameters, auto_kid=True)


def key_set(*keys: Key) -> bytes:
    """Return the public halves of keys as a JWKS document."""
    return json.dumps({"keys": [one.as_dict(private=False) for one in keys]}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a good token, with changes; None takes one away."""
    now = int(time.time())
    good = {"iss": "fieldlog", "aud": "fieldlog", "sub": "ana", "tenant": str(TENANT), "roles": ["admin"], "iat": now}
    all = good | {"exp": now + HOUR_S} | changed
    return {name: value for name, value in all.items() if value is not None}


def signed(key: Key, payload: dict[str, Any] | None = None, algorithm: str = "ES256", **header: Any) -> str:
    """Return a token; what is said of its header replaces what a good one has, and None takes it away."""
    about = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid} | header
    about = {name: value for name, value in about.items() if value is not None}
    return jwt.encode(about, payload if payload is not None else claims(), key, algorithms=[algorithm])


def put_together(header: Any, payload: Any, signature: bytes = b"") -> str:
    """Return something of the form of a token that nobody signed."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class KeyServer:
    """Serves a key set, or whatever a test puts in its place, and counts how often it was asked for."""

    def __init__(self, document: bytes) -> None:
        self.document, self.status, self.asked = document, 200, 0
        self.location: str | None = None
        ours = self

        class Answering(BaseHTTPRequestHandler):
            """Answers with what the server holds at that moment."""

            def do_GET(self) -> None:
                ours.asked += 1
                self.send_response(ours.status)
                if ours.location is not None:
                    self.send_header("Location", ours.location)
                self.send_header("Content-Length", str(len(ours.document)))
                self.end_headers()
                self.wfile.write(ours.document)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def close(self) -> None:
        """Be away from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving(*keys: Key) -> Iterator[KeyServer]:
    """Serve the public halves of keys until the end of the block."""
    server = KeyServer(key_set(*keys))
    try:
        yield server
    finally:
        server.close()
