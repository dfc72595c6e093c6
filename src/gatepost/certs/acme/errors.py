"""What goes wrong between us and a CA."""

from __future__ import annotations

from gatepost.wire.acme_objects import Problem

_PERMANENT = frozenset(
    {
        "badCSR",
        "badPublicKey",
        "badSignatureAlgorithm",
        "externalAccountRequired",
        "invalidContact",
        "invalidProfile",
        "malformed",
        "rejectedIdentifier",
        "unsupportedContact",
        "unsupportedIdentifier",
        "userActionRequired",
    }
)
"""Errors that the same request will meet again (RFC 8555 §6.7). Failed validations are not among them: DNS, routes and
firewalls are mended without our knowing."""


class AcmeFailed(Exception):
    """No certificate, for now or at all. `text` is one sentence, `details` one line for each name that has a reason of its own.

    `retry_after` are the seconds that the CA asked to wait; `permanent`: only a change of configuration or account
    helps; `kind` is the CA's error (`rateLimited`, `accountDoesNotExist`) and `status` that of the answer, empty and 0 where
    there was none.
    """

    def __init__(
        self,
        text: str,
        *,
        retry_after: float | None = None,
        permanent: bool = False,
        details: tuple[str, ...] = (),
        kind: str = "",
        status: int = 0,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after
        self.permanent = permanent
        self.details = details
        self.kind = kind
        self.status = status

    @property
    def whole(self) -> str:
        """Sentence and details in one line, for a log."""
        return "; ".join((self.text, *self.details))


class UnsoundCertificate(AcmeFailed):
    """What the CA sent as a certificate cannot be served."""


def refused(what: str, problem: Problem, retry_after: float | None = None) -> AcmeFailed:
    """The CA's refusal of `what` (`the new order`)."""
    first, *parts = problem.lines()
    return AcmeFailed(
        f"the CA refused {what}: {first}",
        retry_after=retry_after,
        permanent=problem.kind in _PERMANENT,
        details=tuple(parts),
        kind=problem.kind,
        status=problem.status,
    )
