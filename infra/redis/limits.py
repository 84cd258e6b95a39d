"""Rate limits: how much of a quota somebody has left, by the generic cell rate algorithm.

A quota of 100 in 60 seconds may be used at once; after that, a unit comes back every 0.6 seconds. What is kept is one
number: the moment at which all of the quota would be there again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from math import ceil
from typing import NamedTuple

from infra.redis.client import Script, Shared


class Policy(NamedTuple):
    """A quota: so many units in so many seconds. A quantity of 0 is no limit."""

    name: str
    quantity: int
    window_s: int


class Charge(NamedTuple):
    """What a request takes of a quota, and from whom."""

    policy: Policy
    whose: str
    units: int

    @property
    def key(self) -> str:
        """Where what is left is kept; who it is cannot be read from it."""
        return f"fieldlog:limit:{self.policy.name}:{_digest(self.whose)}"


@lru_cache(maxsize=10_000)
def _digest(whose: str) -> str:
    return sha256(whose.encode()).hexdigest()[:32]


class Left(NamedTuple):
    """What is left of a quota: units, and the seconds until all of it is there; where it was exceeded, until it suffices."""

    policy: Policy
    units: int
    seconds: int
    exceeded: bool


# Times are microseconds. All quotas are charged or none. A charge larger than its quota takes all of it.
TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local charged, exceeded = {}, false
for i, key in ipairs(KEYS) do
    local quantity, window, units = tonumber(ARGV[3 * i - 2]), ARGV[3 * i - 1] * 1000000, tonumber(ARGV[3 * i])
    local full = math.max(tonumber(redis.call('GET', key) or now), now)
    local after = full + math.min(units, quantity) * window / quantity
    local over = after - now > window + 0.5
    exceeded = exceeded or over
    charged[i] = {full = full, after = after, over = over, window = window, unit = window / quantity}
end
local answers = {}
for i, key in ipairs(KEYS) do
    local one = charged[i]
    local full = exceeded and one.full or one.after
    if not exceeded and full > now then
        redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
    end
    local units = math.max(0, math.floor((one.window - (full - now) + 0.5) / one.unit))
    local wait = one.over and one.after - now - one.window or full - now
    answers[i] = {units, math.ceil(wait), one.over and 1 or 0}
end
return answers
""")


async def take(shared: Shared, charges: Sequence[Charge]) -> list[Left]:
    """Take from quotas, from all of them or none; say what is left of each. Raises AwayError."""
    wanted = [(one.policy.quantity, one.policy.window_s, one.units) for one in charges]
    answers = await shared.run(TAKE, [one.key for one in charges], *(part for one in wanted for part in one))
    return [
        Left(charge.policy, units, ceil(microseconds / 1_000_000), bool(exceeded))
        for charge, (units, microseconds, exceeded) in zip(charges, answers, strict=True)
    ]
