"""Which domains are ours: those that public listeners accept mail for, and those whose MTA-STS policy we serve."""

from __future__ import annotations

from gatepost.config.inbound import ListenerType, RecipientAction
from gatepost.config.model import Document
from gatepost.config.recipients import EntryKind, parse_mailbox_entry


class OwnDomains:
    """The domains of a configuration, as a set that is asked."""

    def __init__(self, document: Document) -> None:
        self._names = {entry.comparable_domain for entry in document.mta_sts_policies}
        self._below: list[str] = []
        self._all = False
        for listener in document.listeners:
            if listener.type is ListenerType.PUBLIC:
                for rule in listener.recipient_access:
                    if rule.action is RecipientAction.ACCEPT:
                        self._add(rule.recipient)

    def _add(self, text: str) -> None:
        entry = parse_mailbox_entry(text)
        if entry.kind in (EntryKind.DOMAIN, EntryKind.MAILBOX):
            self._names.add(entry.domain)
        elif entry.kind is EntryKind.PARTIAL:
            self._below.append(f".{entry.domain}")
        else:  # a local part anywhere, or everything
            self._all = True

    def has(self, domain: str) -> bool:
        """Whether mail for this domain (normalised) is ours."""
        return bool(domain) and (self._all or domain in self._names or domain.endswith(tuple(self._below)))
