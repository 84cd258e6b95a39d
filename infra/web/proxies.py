"""Who really calls: the address and scheme that trusted proxies report, and nobody else.

A proxy adds the address that called it at the end of its header; what stands before that, anybody may have written. So the
caller is the right-most address that is no trusted proxy. Only the header that the proxies are known to write is looked
at: the other one would come from the caller.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
FOR = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";,]*)"?', re.IGNORECASE)
WITH_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([0-9.]+):\d+")
SCHEMES = {b"http": "http", b"https": "https"}


class Proxies:
    """The proxies that are believed."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network], named: str) -> None:
        self._networks, self._header = networks, named.lower().encode()

    def reveal(self, scope: MutableMapping[str, Any]) -> None:
        """Let a request's scope say who called the outermost trusted proxy, and by which scheme."""
        if not self._networks or not scope.get("client"):
            return
        caller = _address(scope["client"][0])
        if caller is None or not self._trusts(caller):
            return
        for hop in reversed(self._hops(scope)):
            found = _address(hop)
            if found is None:  # "unknown", or no address at all: the last one that is known stands for it
                break
            caller = found
            if not self._trusts(found):
                break
        scope["client"] = (str(caller), 0)
        for name, value in scope["headers"]:
            if name == b"x-forwarded-proto" and value.strip() in SCHEMES:
                scope["scheme"] = SCHEMES[value.strip()]

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _hops(self, scope: MutableMapping[str, Any]) -> list[str]:
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
        hops = [hop.strip() for value in values for hop in value.split(",")]
        if self._header == b"forwarded":
            return [found[1].strip() if (found := FOR.search(hop)) else "" for hop in hops]
        return hops


def caller_of(scope: MutableMapping[str, Any]) -> str:
    """Return whom to hold an anonymous request against: an address, or the network of one household for IPv6."""
    address = _address((scope.get("client") or ("",))[0])
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), 64), strict=False))
    return str(address or "unknown")


def _address(text: str) -> Address | None:
    if found := WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    with suppress(ValueError):
        address = ip_address(text)
        return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
    return None
