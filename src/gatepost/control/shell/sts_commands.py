"""`gatepost sts …`: our own MTA-STS policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import facts, paragraph, plural, safe, say, say_json
from gatepost.core.errors import Exit

DomainArgument = Annotated[str, typer.Argument(metavar="[DOMAIN]", help="One domain; else all.")]
_STATUS = {
    "well": "policy, records, file and certificates agree",
    "unknown": "not everything could be looked up; what was agrees",
    "warning": "to be put right",
    "error": "senders that heed the policy do not deliver",
}
_TXT_WIDTH = 64  # of a string, between its quotes
_ADVICE = (
    (
        "Order: ",
        "apply the configuration, see with `gatepost sts check` that the file is served, and publish the TXT record last.",
    ),
    ("Change: ", "every change of a policy has another id; publish it, or senders keep what they have."),
    (
        "End: ",
        "set mode: none and publish the new id; take record and policy away when the longest max_age you ever had is over.",
    ),
)


def make() -> typer.Typer:
    """The group."""
    app = group("sts", "The MTA-STS policies of our own domains.")
    app.callback()(_group)
    app.command("show")(show)
    app.command("check")(check)
    return app


def _group() -> None:
    """The MTA-STS policies of our own domains."""


def show(domain: DomainArgument = "", as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Print the policies as they are served, and the DNS records to publish."""
    found = Client(home).call("sts.show", domain=domain)
    if as_json:
        say_json(found[0] if domain else found)
        return
    if not found:
        say("There are no policies; add them under mta_sts_policies.")
        return
    for one in found:
        _say_policy(one)
    for head, text in _ADVICE:
        paragraph(head, text)


def _say_policy(one: Mapping[str, Any]) -> None:
    say(safe(f"{one['domain']}: mode {one['mode']}, certificate {one['certificate']}"))
    say()
    for line in one["policy"].splitlines():
        say(f"    {safe(line)}")
    say()
    served = one["url"] if one["served"] else f"{one['url']} (not by this gateway: there is no public_web)"
    facts([("Served at", served), ("Id", one["id"])])
    say("Records")
    for record in one["records"]:
        say(safe(f"    {record['name']}."))
        if record["type"] == "TXT":
            say_txt(safe(record["value"]))
        else:
            value = record["value"] or "the address of the public port, or a CNAME to it"
            say(safe(f"        {record['type']}  {value}"))
    say()


def say_txt(text: str) -> None:
    """One string where the screen holds it, else several in parentheses: whoever reads the record puts them together."""
    if len(text) <= _TXT_WIDTH:
        say(f'        TXT  "{text}"')
        return
    say("        TXT (")
    for start in range(0, len(text), _TXT_WIDTH):
        say(f'             "{text[start : start + _TXT_WIDTH]}"')
    say("        )")


def check(domain: DomainArgument = "", as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Compare MX records, certificates, TXT record and served file with the policy, as a sender sees them.

    Ends with 1 where something keeps mail away or takes protection away.
    """
    found = Client(home).call("sts.check", domain=domain)
    if as_json:
        say_json(found[0] if domain else found)
    elif not found:
        say("There are no policies; add them under mta_sts_policies.")
    else:
        for one in found:
            _say_check(one)
    if any(one["status"] in ("error", "warning") for one in found):
        raise typer.Exit(Exit.REFUSED)


def _say_check(one: Mapping[str, Any]) -> None:
    say(safe(f"{one['domain']} ({one['mode']}): {_STATUS[one['status']]}"))
    hosts = [
        (host["host"], f"listener {', '.join(host['listeners'])}" if host["listeners"] else "elsewhere")
        for host in one["mx"]
    ]
    facts([("MX " + name, where) for name, where in hosts], indent="  ")
    facts(
        [
            ("Record id", f"{one['record_id'] or 'none'}, the policy's is {one['id']}"),
            ("File", "fetched and verified" if one["fetched"] else "not to be had"),
        ],
        indent="  ",
    )
    for finding in one["findings"]:
        paragraph(f"  {finding['severity']}: ", finding["text"])
        if finding["repair"]:
            paragraph("    repair: ", finding["repair"])
    count = sum(finding["severity"] != "info" for finding in one["findings"])
    say(f"  {plural(count, 'disagreement')}." if count else "  Nothing to be done.")
    say()
