"""Presence: who looks at which record, or edits it. It is no fact; whoever is not heard of again is soon gone."""

from __future__ import annotations

from uuid import UUID

import msgspec

from infra.redis.boards import MOST_ENTRIES, PRELUDE, board_of
from infra.redis.client import Script, Shared

LIFE_S = 120

# ARGV: key, who (JSON), life in ms, most entries.
BEAT = Script(
    PRELUDE
    + """
local there = read(ARGV[1])
if not there and full(tonumber(ARGV[4])) then return 0 end
write(ARGV[1], ARGV[3], there and there.since or now, 0, cjson.decode(ARGV[2]))
return 1
"""
)


def presence_key(subject: str, stream: str, id: str) -> str:
    """Return the key of a person's presence at a record on its board."""
    return f"{stream}/{id}/{subject}"


async def beat(
    shared: Shared, tenant: UUID, subject: str, name: str | None, stream: str, id: str, activity: str, page: str | None
) -> bool:
    """Say that somebody is there, for two minutes. False: there is room for no more. Raises AwayError."""
    who = {"by": subject, "name": name or subject, "activity": activity, "page": page or ""}
    key, board = presence_key(subject, stream, id), board_of("presence", tenant)
    encoded = msgspec.json.encode(who)
    return bool(await shared.run(BEAT, [board], key, encoded, LIFE_S * 1000, MOST_ENTRIES))
