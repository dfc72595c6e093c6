"""The secrets of the section `acme` that are not in the document: which there are, and whether they are stored.

Apart from the vault that opens them, since every commit asks for them and should not load an ACME client for that.
"""

from __future__ import annotations

from enum import StrEnum

from gatepost.store.config_store import ConfigStore


class Secret(StrEnum):
    """What `gatepost acme secret` stores."""

    EAB = "eab"  # the key of an external account, base64url (RFC 8555 §7.3.4)
    TSIG = "tsig"  # the key of dynamic DNS updates, base64 (RFC 8945 §8)

    @property
    def place(self) -> str:
        """Its name in the store and in its envelope."""
        return f"acme {self.value}/"


def has_secret(store: ConfigStore, kind: Secret) -> bool:
    """It is stored; whether its envelope opens shows when it is used."""
    return bool(store.get_meta(kind.place))
