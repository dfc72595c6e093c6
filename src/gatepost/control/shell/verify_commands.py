"""`gatepost tlsverify` and `gatepost daneverify`: would mail to a domain be verified, host by host and step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import paragraph, safe, say, say_json
from gatepost.core.errors import Exit

_MARKS = {"ok": "  ", "failed": "! ", "unknown": "? "}
_RESULTS = {"verified": "succeeded", "failed": "FAILED", "unknown": "could not be told"}
_CODES = {"failed": Exit.REFUSED, "unknown": Exit.TRY_AGAIN}

DomainArgument = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="A recipient domain, or user@domain.", show_default=False)
]


def tlsverify(
    domain: DomainArgument,
    hosted: Annotated[
        bool, typer.Option("--hosted", help="Accept the names of MX records too (required-verify-hosted).")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Call a domain's hosts as a delivery at required-verify does, and say whether each is verified.

    Ends with 0 when all are, with 1 when one is not, with 75 when it could not be told.
    """
    _show(Client(home).call("tlsverify", domain=domain, hosted=hosted), as_json=as_json)


def daneverify(domain: DomainArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Verify a domain's hosts by their TLSA records (DANE): MX, address and TLSA secure, TLS, match.

    Ends with 0 when all match, with 1 when one does not, with 75 when it could not be told.
    """
    _show(Client(home).call("daneverify", domain=domain), as_json=as_json)


def _show(found: Mapping[str, Any], *, as_json: bool) -> None:
    found = {key: value for key, value in found.items() if key != "said"}
    if as_json:
        say_json(found)
    else:
        _say(found)
    if found["result"] != "verified":
        raise typer.Exit(_CODES[found["result"]])


def _say(found: Mapping[str, Any]) -> None:
    what = "DANE" if found["kind"] == "dane" else f"TLS at {found['level']}"
    say(safe(f"{what} for {found['domain']}"))
    for number, host in enumerate(found["hosts"], 1):
        say()
        paragraph("", f"Host {number}: {host['host']}")
        for step in host["steps"]:
            _step(step)
        for address in host["addresses"]:
            for step in address["steps"]:
                _step(step)
        if not host["addresses"]:
            paragraph("    ", f"It was not called: {host['reason']}")
    for text in found["notes"]:
        say()
        paragraph("Note: ", text)
    say()
    kind = "DANE verification" if found["kind"] == "dane" else "TLS verification"
    reason = f": {found['reason']}" if found["reason"] else ""
    paragraph("", f"{kind} of {found['domain']} {_RESULTS[found['result']]}{reason}.")


def _step(step: Mapping[str, Any]) -> None:
    paragraph(f"  {_MARKS[step['result']]}", f"{step['text'][:1].upper()}{step['text'][1:]}")
