from __future__ import annotations

import pytest
from OpenSSL import SSL

from gatepost.net import openssl_private
from gatepost.net.openssl_private import Features


def test_this_pinned_release_shows_every_effect() -> None:
    assert openssl_private.prove_features() == Features(True, True, True, True)


@pytest.mark.parametrize(
    ("library", "reason", "number"),
    [
        ("SSL routines", "no shared cipher", 0x0A0000C1),
        ("SSL routines", "wrong version number", 0x0A00010B),
        ("SSL routines", "unsupported protocol", 0x0A000102),
        ("no such library", "no shared cipher", 0),
        ("SSL routines", "no such reason", 0x0A000000),
    ],
)
def test_numbers_of_errors(library: str, reason: str, number: int) -> None:
    assert openssl_private.error_number(library, reason) == number


def test_refused_lists_say_so_and_leave_no_error_behind() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    assert not openssl_private.set_groups(context, "no-such-group")
    assert not openssl_private.set_signature_algorithms(context, "no-such-algorithm")
    # An error left in the library's queue would be blamed on the next call.
    context.set_cipher_list(b"DEFAULT")


def test_without_the_private_parts_the_features_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def ERR_clear_error(self) -> None: ...

    monkeypatch.setattr(openssl_private.binding, "lib", Nothing())
    for cached in (
        openssl_private.prove_features,
        openssl_private._library_numbers,
        openssl_private._reason_numbers,
    ):
        cached.cache_clear()
    try:
        assert openssl_private.prove_features() == Features(False, False, False, False)
        assert openssl_private.error_number("SSL routines", "no shared cipher") == 0
    finally:
        monkeypatch.undo()
        for cached in (
            openssl_private.prove_features,
            openssl_private._library_numbers,
            openssl_private._reason_numbers,
        ):
            cached.cache_clear()
