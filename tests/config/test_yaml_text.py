"""The YAML that is read: core schema, and everything that makes a file mean more than it shows is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.yaml_text import MAX_DEPTH, read_yaml
from gatepost.core.errors import ConfigurationError, Problem


def problems(text: bytes | str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read_yaml(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("y", "y"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("10", 10), ("-3", -3), ("0x1F", 31), ("0o17", 15), ("017", 17), ("1_000", "1_000"),
        ("10.5", 10.5), ("1e3", 1000.0), (".5", 0.5), (".inf", ".inf"), ("12:30", "12:30"),
        ("2027-01-31", "2027-01-31"), ("1MB", "1MB"), ("'10'", "10"), ('"true"', "true"), ("<<", "<<"), ("=", "="),
        ("1" * 30, "1" * 30),
    ],
)  # fmt: skip
def test_scalars_of_the_core_schema(text: str, value: object) -> None:
    read = read_yaml(f"key: {text}\n")
    assert read == {"key": value}
    assert type(read["key"]) is type(value)  # type: ignore[index]


def test_off_is_a_word_and_false_is_not() -> None:
    assert read_yaml("tls: off") == {"tls": "off"}
    assert read_yaml("tls: false") == {"tls": False}


def test_block_and_flow_are_the_same() -> None:
    assert read_yaml("a:\n  - {b: 1, c: [x, y]}\n  - b: 2\n    c:\n    - z\n") == {
        "a": [{"b": 1, "c": ["x", "y"]}, {"b": 2, "c": ["z"]}]
    }


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert read_yaml("{<<: {a: 1}}") == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: &x 1", "line 1", "anchor"),
        ("a: 1\nb: *x", "line 2", "alias"),
        ("a: !!str 1", "line 1", "tag"),
        ("a: !x {}", "line 1", "tag"),
        ("a: !!python/object:os.system x", "line 1", "tag"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "b.c", "twice"),
        ("x:\n- {a: 1}\n- {a: 1, a: 2}", "x[1].a", "twice"),
        ("- 1\n--- \n- 2", "line 2", "second document"),
        ("%YAML 1.1\n---\na: off", "line 2", "version"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "line 2", "tags"),
        ("? [a]\n: 1", "line 1", "key"),
        ("a: 1\nb: [1, 2", "line 2", "not YAML"),
        ("a: 1\n\tb: 2", "line 2", "not YAML"),
        ("a: b: c", "line 1", "not YAML"),
        ("a: 'x", "line 1", "not YAML"),
        ("a: 1\nb: \x07", "line 2", "character"),
        ('a: "\\U00110000"', "line 1", "not YAML"),
        (b"a: 1\nb: \xff", "line 2", "UTF-8"),
    ],
)
def test_what_is_refused_says_where(text: bytes | str, where: str, what: str) -> None:
    first = problems(text)[0]
    assert first.path == where
    assert what in first.text


def test_all_of_them_at_once() -> None:
    found = problems("a: &x 1\nb: *x\nc: !!str d\nd: 1\nd: 2\n")
    assert [problem.path for problem in found] == ["line 1", "line 2", "line 3", "d"]


def test_a_bomb_is_refused_before_it_is_built() -> None:
    assert "deep" in problems("[" * 5_000)[0].text
    assert "deep" in problems("a:\n" + "".join(f"{'  ' * n}- \n" for n in range(MAX_DEPTH + 5)))[0].text
    assert "16 MiB" in problems(b"#" * (16 * 1024 * 1024 + 1))[0].text


def test_the_deepest_that_is_taken() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    value = read_yaml(text)
    for _ in range(MAX_DEPTH - 1):
        assert isinstance(value, list)
        value = value[0]
    assert value == []


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1") == {"a": 1}


@settings(max_examples=100)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60),
        st.text(alphabet="ab:-{}[],#&*!|>'\"%@`?\\ \n\t~<=.0u\x85\ufeff", max_size=40),
    )
)
def test_any_text_is_yaml_or_a_fault(text: bytes | str) -> None:
    found: tuple[Problem, ...] = ()
    try:
        read_yaml(text)
    except ConfigurationError as error:
        found = error.problems or (Problem("", "\n"),)
    assert all("\n" not in problem.line() for problem in found)
