"""Claims: a name that only one record may hold, such as a plate or a receipt number; no route serves them.

free --claim--> held --release--> free
"""

from dataclasses import replace

from domain.kernel import Stream, fact, state


@fact
class Claimed:
    """A record took this name."""

    by: str


@fact
class Released:
    """The name may be taken again."""


@state
class Claim:
    """Who holds the name."""

    by: str | None = None


def evolve(claim: Claim, happened: object) -> Claim:
    """Return the claim after what happened."""
    match happened:
        case Claimed(by=by):
            return replace(claim, by=by)
        case Released():
            return replace(claim, by=None)
    return claim


CLAIMS = Stream(
    "claims",
    Claim(),
    evolve,
    {"claims.claimed.v1": Claimed, "claims.released.v1": Released},
)
