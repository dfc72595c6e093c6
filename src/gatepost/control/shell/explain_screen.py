"""The tree of `gatepost explain` for people, within a terminal's width: from the configuration down to what a message would meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gatepost.control.shell.explain_calls import say_call
from gatepost.control.shell.screen import day, local, paragraph, safe, say

_LABEL = 12
_NAME, _VALUE = 27, 24
DEFAULT_PATH = "destination_controls.default"
_HEX = 16  # digits of a record that tell it from others
_MATCH = {
    "exact": "an entry of its own",
    "suffix": "inside the entry",
    "default": "no entry names it, so the default counts",
}
_ROUTE = {
    "dns": "no smtp route: the MX records of {hosts} decide",
    "hosts": "goes to {hosts}",
    "address": "no smtp route: the recipient names {hosts}",
    "reject": "no mail is taken: {detail}",
}
_SOURCE = {
    "mx": "MX {preference}",
    "domain": "the domain itself, which has no MX record",
    "route": "named by the smtp route",
    "address": "an address, no name",
}
_RESULT = {
    "deliverable": "A message would go to {host} [{address}], {verdict}",
    "bounce": "A message would bounce",
    "delay": "A message would be put off and tried again",
    "unknown": "The hosts were not called; --live does that",
}
VERDICTS = {
    "clear": "in clear",
    "encrypted": "encrypted",
    "verified": "encrypted and verified",
    "refused": "refused",
}


def say_explanation(found: Mapping[str, Any]) -> None:
    """The whole tree."""
    state = "your pending changes" if found["pending"] else "in force"
    say(safe(f"{found['domain']}, by version {found['version']} ({state})"))
    if found.get("requiretls"):
        say("For a message that requires TLS on its whole way (REQUIRETLS)")
    say()
    _say_entry(found["rules"]["entry"])
    _say_monitor(found["rules"].get("monitor"))
    _say_route(found["rules"]["route"])
    if found["delivery"] is not None:
        _say_delivery(found["delivery"])
    for text in found["notes"]:
        say()
        paragraph("Note: ", text)


def row(label: str, text: str, *, indent: int = 2) -> None:
    """A name and its text, wrapped behind it."""
    paragraph(" " * indent + label.ljust(_LABEL), text)


# --- the configuration --------------------------------------------------------------------------------------


def _say_entry(entry: Mapping[str, Any]) -> None:
    which = f", {entry['domain']}" if entry["domain"] else ""
    paragraph("Rule: ", f"{entry['path']}{which} ({_MATCH[entry['match']]})")
    if entry["reason"] or entry["until"]:
        row("exception", _exception(entry))
    for one in entry["ended"]:
        row("ended", f"{one['path']}, {one['domain']}: {_exception(one)}")
    _say_settings(entry)


def _say_settings(entry: Mapping[str, Any]) -> None:
    for setting in entry["settings"]:
        head = f"  {setting['name'].ljust(_NAME)} {str(_written(setting['value'])).ljust(_VALUE)}"
        paragraph(f"{head} ", _origin(setting["source"], entry["path"]))


def _say_monitor(entry: Mapping[str, Any] | None) -> None:
    if entry is None:
        return
    which = f", {entry['domain']}" if entry["domain"] else ""
    paragraph("Monitor: ", f"{entry['path']}{which} (evaluated beside it, not enforced)")
    if entry["reason"] or entry["until"]:
        row("exception", _exception(entry))
    _say_settings(entry)


def _origin(source: str, path: str) -> str:
    if not source:
        return "(product's default)"
    if path == DEFAULT_PATH or not source.startswith(f"{path}."):
        return "(default entry)"
    return "(this entry)"


def _exception(one: Mapping[str, Any]) -> str:
    until = f"until {day(one['until'] or '')}" if one["until"] else "without an end"
    return f"{one['reason']}, {until}" if one["reason"] else until


def _written(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _say_route(route: Mapping[str, Any]) -> None:
    text = _ROUTE[route["kind"]].format(hosts=", ".join(route["hosts"]), detail=route["detail"])
    entry = f" ({route['path']}, {route['domain']})" if route["path"] else ""
    paragraph("Route: ", text + entry)


# --- what DNS said --------------------------------------------------------------------------------------------


def _say_delivery(delivery: Mapping[str, Any]) -> None:
    _say_dnssec(delivery["dnssec"])
    if delivery["look_ups"]:
        say()
        say("Look-ups, as the delivery makes them:")
        for look_up in delivery["look_ups"]:
            _say_look_up(look_up)
    for policy in delivery["policies"]:
        _say_policy(policy)
    if delivery["left_out"]:
        say()
        say("Not called:")
        for one in delivery["left_out"]:
            where = f" [{one['address']}]" if one["address"] else ""
            paragraph("  ", f"{one['host']}{where}: {one['reason']}")
    for number, host in enumerate(delivery["hosts"], 1):
        _say_host(number, host)
    _say_result(delivery["result"])


def _say_dnssec(dnssec: Mapping[str, Any]) -> None:
    if dnssec["believed"]:
        names = ", ".join(one["server"] for one in dnssec["servers"] if one["believed"])
        paragraph("DNSSEC: ", f"{names} is believed: it passed the probe")
    else:
        paragraph("DNSSEC: ", f"nobody is believed: {dnssec['reason']}")


def _say_look_up(look_up: Mapping[str, Any]) -> None:
    state = "" if look_up["status"] == "found" else f"{look_up['status']}: "
    told = ", ".join(short(value) if look_up["kind"] == "TLSA" else value for value in look_up["values"])
    text = f"{look_up['name']}: {state}{told or look_up['detail'] or 'nothing'}"
    if look_up["kind"] != "TLSA":
        text += " (signed)" if look_up["secure"] else " (not signed)" if look_up["status"] == "found" else ""
    paragraph(f"  {look_up['kind'].ljust(7)} ", text)


def _say_policy(policy: Mapping[str, Any]) -> None:
    say()
    parts = []
    if policy["mode"]:
        parts.append(f"{policy['mode']}, for {', '.join(policy['hosts']) or 'no host'}")
        if policy["fetched"]:
            parts.append(
                f"id {policy['id']}, fetched {local(policy['fetched'])}, counts until {local(policy['until'])}"
            )
    else:
        parts.append("none counts")
    if policy["problem"]:
        parts.append(policy["problem"])
    paragraph("MTA-STS: ", f"{policy['domain']}: {'; '.join(parts)}")


def short(record: str) -> str:
    """A TLSA record with the first digits only."""
    *numbers, digits = record.split(" ")
    return f"{' '.join(numbers)} {digits[:_HEX]}{'…' if len(digits) > _HEX else ''}"


# --- the hosts ------------------------------------------------------------------------------------------------


def _say_host(number: int, host: Mapping[str, Any]) -> None:
    say()
    source = _SOURCE[host["source"]].format(preference=host["preference"])
    ports = {address["port"] for address in host["addresses"]} - {25}
    port = f", port {ports.pop()}" if ports else ""
    paragraph("", f"Host {number}: {host['host']} ({source}{port})")
    plan = host["plan"]
    if host["tlsa"] is not None:
        for label, text in _labelled("TLSA", _tlsa(host["tlsa"])):
            row(label, text)
    if plan["mta_sts"] is not None:
        listed = "names the host" if plan["mta_sts"]["listed"] else "does NOT name the host"
        mode = "enforced" if plan["mta_sts"]["enforced"] else "in testing"
        row("MTA-STS", f"{mode}; the policy of {plan['mta_sts']['domain']} {listed}")
    row("level", f"{plan['level']}, from {plan['rule']}")
    for label, text in _labelled("may pass", plan["may_pass"]):
        row(label, text)
    if plan["monitor"] is not None:
        row("monitor", f"{plan['monitor']['level']}, from {plan['monitor']['rule']}")
        for label, text in _labelled("would pass", plan["monitor"]["may_pass"]):
            row(label, text)
    if plan["sni"]:
        row("SNI", plan["sni"])
    if plan["client_certificate"]:
        row("ours", f"the certificate {plan['client_certificate']} is shown where the host asks")
    for address in host["addresses"]:
        row("address", address["address"])
        if address["call"] is not None:
            say_call(address["call"], VERDICTS)


def _labelled(label: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        yield label, text
        label = ""


def _tlsa(tlsa: Mapping[str, Any]) -> Sequence[str]:
    if not tlsa["records"]:
        words = {"unavailable": "not asked for: ", "failed": "could not be looked up: "}
        return [f"{words.get(tlsa['state'], 'none: ')}{tlsa['detail']}"]
    return [
        f"{short(one['record'])}{' - of no use: ' + one['unusable'] if one['unusable'] else ''}"
        for one in tlsa["records"]
    ]


def _say_result(result: Mapping[str, Any]) -> None:
    say()
    text = _RESULT[result["result"]].format(
        host=result["host"], address=result["address"], verdict=VERDICTS.get(result["verdict"], "")
    )
    if result["reason"]:
        text += f" ({result['reason']})"
    if result["failure"]:
        text += f": {result['failure']}"
        text += f" ({result['status']})" if result["status"] else ""
    paragraph("", f"{text}.")
