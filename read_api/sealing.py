"""Sealed texts: what clients carry for us and cannot change, such as cursors and tickets."""

from __future__ import annotations

import base64
import binascii
import hmac

SEAL_BYTES = 12


def sealed(key: bytes, purpose: str, payload: bytes) -> str:
    """Return a payload with its seal (HMAC-SHA-256, 96 bits), as URL-safe text; good for one purpose alone."""
    return padless(_seal(key, purpose, payload) + payload)


def opened(key: bytes, purpose: str, text: str) -> bytes | None:
    """Return the payload of a sealed text, or None if the seal is not ours, or was made for another purpose."""
    raw = unpadded(text)
    seal, payload = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
    return payload if hmac.compare_digest(_seal(key, purpose, payload), seal) else None


def _seal(key: bytes, purpose: str, payload: bytes) -> bytes:
    return hmac.digest(key, purpose.encode() + b"\0" + payload, "sha256")[:SEAL_BYTES]


def padless(raw: bytes) -> str:
    """Return bytes as URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpadded(text: str) -> bytes:
    """Return the bytes of URL-safe base64 without padding; none if it is no such text."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
