"""Rate limits of requests: what is counted against whom, the headers that say what is left, and the problem of too much.

`RateLimit-Policy` and `RateLimit` are Structured Fields (draft-ietf-httpapi-ratelimit-headers-11). Without Redis nothing is
limited: what could not be counted is counted here instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import lru_cache

from prometheus_client import Counter

from infra.redis.client import AwayError, Shared
from infra.redis.limits import Charge, Left, Policy, take
from infra.settings import Settings
from infra.web.edge import Context, Scope, context_of
from infra.web.problems import QUOTA_EXCEEDED, UNAUTHENTICATED, ProblemError
from infra.web.proxies import caller_of
from infra.web.tokens import Principal

LIMITED = Counter("rate_limited_total", "Requests that were refused because of a quota", ["policy"])
UNLIMITED = Counter("rate_limit_unavailable_total", "Requests that were let through because Redis did not answer")


class Limits:
    """The limits of one API."""

    def __init__(self, shared: Shared, settings: Settings) -> None:
        window = settings.limit_window_seconds
        self._shared = shared
        self._requests = Policy("default", settings.limit_requests, window)
        self._points = Policy("gps", settings.limit_points, window)
        self._anonymous = Policy("auth", settings.limit_failed_auth, window)

    async def charge(self, scope: Scope, principal: Principal, *, requests: int = 1, points: int = 0) -> None:
        """Take what a request costs of its sender's quotas. Raises ProblemError: there is not so much left."""
        whose = f"{principal.tenant}/{principal.actor.subject}"
        await self._charge(
            context_of(scope), [Charge(self._requests, whose, requests), Charge(self._points, whose, points)]
        )

    async def recognised(self, scope: Scope, authentication: Awaitable[Principal]) -> Principal:
        """Return who sends a request; a stranger's is taken from the quota of his address. Raises ProblemError."""
        try:
            return await authentication
        except ProblemError as problem:
            raise await self._charge_stranger(scope, problem) from problem

    async def _charge_stranger(self, scope: Scope, problem: ProblemError) -> ProblemError:
        """Return the problem of a request without an accepted token, or that there were too many from its address."""
        if problem.kind is UNAUTHENTICATED:
            try:
                await self._charge(context_of(scope), [Charge(self._anonymous, caller_of(scope), 1)])
            except ProblemError as too_many:
                return too_many
        return problem

    async def _charge(self, context: Context, wanted: Sequence[Charge]) -> None:
        charges = [one for one in wanted if one.units and one.policy.quantity]
        if not charges or not self._shared.is_set:
            return
        try:
            left = await take(self._shared, charges)
        except AwayError:
            UNLIMITED.inc()
            return
        context.headers += headers_of(left)
        exceeded = [one for one in left if one.exceeded]
        if exceeded:
            for one in exceeded:
                LIMITED.labels(one.policy.name).inc()
            seconds = max(one.seconds for one in exceeded)
            problem = ProblemError(QUOTA_EXCEEDED, f"Ask again in {seconds} s.", headers={"Retry-After": str(seconds)})
            problem.members["violated-policies"] = [one.policy.name for one in exceeded]
            raise problem


def headers_of(left: Sequence[Left]) -> list[tuple[bytes, bytes]]:
    """Return the headers that say which quotas a request was counted against, and what is left of each."""
    policies = ", ".join(_policy(one.policy) for one in left)
    remaining = ", ".join(f'"{one.policy.name}";r={one.units};t={one.seconds}' for one in left)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", remaining.encode())]


@lru_cache
def _policy(policy: Policy) -> str:
    return f'"{policy.name}";q={policy.quantity};w={policy.window_s}'
