"""Sizes, durations, limits, names: what is read, what is refused, and what is written back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.values import (
    Fault,
    check_text,
    format_duration,
    format_size,
    limit_value,
    parse_duration,
    parse_host_name,
    parse_ip,
    parse_size,
)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1B", 1),
        ("1KB", 1024),
        ("1MB", 1024**2),
        ("100MB", 104_857_600),
        ("2GB", 2 * 1024**3),
        (4096, 4096),
        ("3 kb", 3072),
    ],
)
def test_sizes_are_powers_of_1024(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    [
        "",
        "10",
        "MB",
        "1TB",
        "1.5MB",
        "-1MB",
        "1 M",
        "0B",
        "2048GB",
        "١MB",
        True,
        1.5,
        None,
        0,
        "9" * 5000 + "B",
    ],
)
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(Fault):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "seconds"), [("60s", 60), ("5m", 300), ("72h", 259_200), ("3d", 259_200), ("0s", 0)]
)
def test_durations(written: str, seconds: int) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["60", 60, "1.5h", "1h30m", "-1s", "", "s", "9999d", True])
def test_a_duration_needs_its_unit(written: object) -> None:
    with pytest.raises(Fault):
        parse_duration(written)


@given(st.integers(1, 1024**4))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 86_400 * 3_650))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_the_written_form_has_the_largest_whole_unit() -> None:
    assert (format_size(1536), format_size(1024**2), format_size(1)) == ("1536B", "1MB", "1B")
    assert (format_duration(60), format_duration(90), format_duration(7200)) == ("1m", "90s", "2h")


def test_unlimited_is_no_number() -> None:
    assert limit_value("unlimited") is None
    assert limit_value(7) == 7


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("MX.Example.", "mx.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("a_b.example", "a_b.example"),
        ("localhost", "localhost"),
    ],
)
def test_host_names_have_one_form(written: str, name: str) -> None:
    assert parse_host_name(written) == name


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "a..b",
        "-a.example",
        "a-.example",
        "a b",
        "10.0.0.1",
        "[10.0.0.1]",
        "a/b",
        "x" * 64,
        "*.example",
        "a\nb",
    ],
)
def test_what_is_no_host_name_is_refused(written: str) -> None:
    with pytest.raises(Fault):
        parse_host_name(written)


@pytest.mark.parametrize(
    "written", ["10.0.0.256", "10.0.0", "fe80::1%eth0", "[::1]", "localhost", "", "010.0.0.1"]
)
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(Fault):
        parse_ip(written)


@pytest.mark.parametrize("text", ["a\r\nb", "a\tb", "a\x1b[1m", "a\x00", "a\u2028b", "\x85"])
def test_a_text_has_no_control_characters(text: str) -> None:
    with pytest.raises(Fault):
        check_text(text)
