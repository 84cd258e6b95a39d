"""What a file is by its signature, whatever it is said to be."""

from __future__ import annotations

import filetype

HEAD_BYTES = 4_096
KNOWN = frozenset(kind.mime for kind in filetype.TYPES)


def sniffed(head: bytes) -> str | None:
    """Return the media type that the first bytes of a file tell; None if they tell none that is known."""
    found: str | None = filetype.guess_mime(head[:HEAD_BYTES])
    return found
