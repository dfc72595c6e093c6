"""The classic rendering is read by log collectors, so it is compared to the byte."""

from __future__ import annotations

from gatepost.core.openssl_errors import classic_error


def test_an_error_with_a_function_renders_as_the_appliance_prints_it() -> None:
    assert (
        classic_error(0x1408A0C1, "SSL routines", "SSL3_GET_CLIENT_HELLO", "no shared cipher")
        == "(336109761, 'error:1408A0C1:SSL routines:SSL3_GET_CLIENT_HELLO:no shared cipher')"
    )


def test_a_missing_function_leaves_its_field_empty() -> None:
    assert (
        classic_error(0x0A0000C1, "SSL routines", "", "no shared cipher")
        == "(167772353, 'error:0A0000C1:SSL routines::no shared cipher')"
    )
