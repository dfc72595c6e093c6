"""Hosts as they are written in routes and in the list of DNS servers.

A route's host is `name` (its MX records are asked for), `[name]` (address records only), an IP address, each
with an optional `:port`, or the words `usedns` (as without a route) and `reject`.
A DNS server is `ADDR`, `ADDR:PORT` or `[V6]:PORT`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

from gatepost.config.values import Fault, WrittenText, parse_host_name, parse_ip

SMTP_PORT = 25
DNS_PORT = 53

_BRACKETED = re.compile(r"\[([^\[\]]+)\](?::([0-9]{1,5}))?", re.ASCII)
_PLAIN = re.compile(r"([^\[\]:]+)(?::([0-9]{1,5}))?", re.ASCII)


class RouteKind(StrEnum):
    MX = "mx"  # the MX records of a name
    HOST = "host"  # the address records of a name
    ADDRESS = "address"
    USE_DNS = "usedns"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class RouteHost:
    """One next hop of a route; `host` is a normalised name or the canonical text of an address."""

    kind: RouteKind
    host: str = ""
    port: int = SMTP_PORT


def _split(text: str, default_port: int) -> tuple[str, int, bool]:
    """Host, port, and whether the host stood in brackets."""
    found = _BRACKETED.fullmatch(text)
    bracketed = found is not None
    if found is None:
        found = _PLAIN.fullmatch(text)
    if found is None:
        parse_ip(text)  # an IPv6 address without brackets and port
        return text, default_port, False
    port = int(found[2]) if found[2] else default_port
    if not 1 <= port <= 65_535:
        raise Fault("has a port that does not exist", "ports go from 1 to 65535")
    return found[1], port, bracketed


def parse_route_host(text: str) -> RouteHost:
    """One host of a route. Raises Fault."""
    lowered = text.lower()
    if lowered == "usedns":
        return RouteHost(RouteKind.USE_DNS)
    if lowered == "reject":
        return RouteHost(RouteKind.REJECT)
    if text == "/dev/null":
        raise Fault("would throw mail away", "write reject to refuse it")
    try:
        host, port, bracketed = _split(text, SMTP_PORT)
    except Fault as fault:
        if "port" in fault.text:
            raise
        raise Fault(
            "is not a host of a route", "for example mail.example.net, [192.0.2.1]:25, usedns or reject"
        ) from None
    if bracketed and host.lower().startswith("ipv6:"):
        host = host[5:]
    try:
        return RouteHost(RouteKind.ADDRESS, str(parse_ip(host)), port)
    except Fault:
        name = parse_host_name(host)
    return RouteHost(RouteKind.HOST if bracketed else RouteKind.MX, name, port)


def parse_dns_server(text: str) -> tuple[str, int]:
    """Address and port of a DNS server. Raises Fault."""
    host, port, _ = _split(text, DNS_PORT)
    return str(parse_ip(host)), port


def _check_route_host(text: str) -> str:
    parse_route_host(text)
    return text


def _check_dns_server(text: str) -> str:
    parse_dns_server(text)
    return text


RouteHostText = Annotated[WrittenText, AfterValidator(_check_route_host)]
"""A host of a route as written; `parse_route_host` gives its meaning."""

DnsServerText = Annotated[WrittenText, AfterValidator(_check_dns_server)]
"""A DNS server as written; `parse_dns_server` gives its meaning."""
