"""Frames of the control socket, and the client that the command line uses."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.control.protocol import (
    LENGTH,
    MAX_FRAME,
    BadFrame,
    call,
    decode_body,
    decode_length,
    encode_frame,
    error_from_json,
    error_to_json,
    short_address,
)
from gatepost.control.shell.files import MAX_BYTES
from gatepost.core.errors import Exit, OperatorError, Problem

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_a_frame_comes_back_as_it_went(value: dict[str, object]) -> None:
    frame = encode_frame({**value, "v": 1})
    assert decode_length(frame[:4]) == len(frame) - 4
    assert decode_body(frame[4:]) == {**value, "v": 1}


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_whatever_is_no_frame_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_body(body)


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_lengths_are_bounded(length: int) -> None:
    with pytest.raises(BadFrame):
        decode_length(LENGTH.pack(length))


def test_a_value_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(BadFrame):
        encode_frame({"v": 1, "x": "y" * 100}, 100)


def test_files_that_are_too_long_together_are_named_so_and_not_a_difference_of_versions(
    tmp_path: Path,
) -> None:
    """Two files of the largest size that the command line reads: each is fine, both do not fit into one request."""
    largest = b64encode(bytes(MAX_BYTES)).decode("ascii")
    with pytest.raises(OperatorError, match="too long: the gateway takes 16 MB") as caught:
        call(tmp_path / "socket", "cert.import", {"file": largest, "key": largest})
    assert caught.value.code is Exit.REFUSED
    with pytest.raises(OperatorError) as caught:
        call(tmp_path / "socket", "cert.import", {"file": largest, "key": ""})
    assert caught.value.code is Exit.NOT_RUNNING


def test_an_error_crosses_whole() -> None:
    error = OperatorError(
        "no", "mend it", code=Exit.FAULTY_CONFIGURATION, problems=(Problem("a.b", "bad", "hint", True),)
    )
    again = error_from_json(error_to_json(error))
    assert (again.message, again.hint, again.code, again.problems) == (
        error.message,
        error.hint,
        error.code,
        error.problems,
    )


def test_an_unknown_code_of_a_newer_gateway_is_a_refusal() -> None:
    assert error_from_json({"message": "x", "code": 99}).code is Exit.REFUSED


@contextmanager
def serving(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """A gateway that answers one connection with `serve`."""
    with socket.socket(socket.AF_UNIX) as server:
        with short_address(path) as address:
            server.bind(address)
        server.listen()

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=once)
        thread.start()
        yield
        thread.join(10)


def test_a_call_brings_the_result(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        asked.append(connection.recv(10_000))
        for byte in encode_frame({"v": 1, "id": 1, "result": {"x": [1]}}):
            connection.sendall(bytes([byte]))

    with serving(tmp_path / "s", serve):
        assert call(tmp_path / "s", "status", {"a": 1}) == {"x": [1]}
    assert decode_body(asked[0][4:]) == {"v": 1, "id": 1, "op": "status", "args": {"a": 1}}


def test_a_refusal_is_raised_again(tmp_path: Path) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(encode_frame({"v": 1, "error": {"message": "no", "hint": "h", "code": 78}}))

    with serving(tmp_path / "s", serve), pytest.raises(OperatorError, match="no") as refusal:
        call(tmp_path / "s", "x", {})
    assert (refusal.value.hint, refusal.value.code) == ("h", Exit.FAULTY_CONFIGURATION)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", Exit.TRY_AGAIN),
        (b"\x00\x00\x00\x09{", Exit.TRY_AGAIN),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Exit.REFUSED),
        (b'\x00\x00\x00\x07{"v":9}', Exit.REFUSED),
    ],
)
def test_a_gateway_that_answers_nonsense_is_one_sentence(tmp_path: Path, answer: bytes, code: Exit) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(answer)

    with serving(tmp_path / "s", serve), pytest.raises(OperatorError) as refusal:
        call(tmp_path / "s", "x", {})
    assert refusal.value.code is code


def test_a_gateway_that_is_silent_costs_the_timeout(tmp_path: Path) -> None:
    done = threading.Event()
    with serving(tmp_path / "s", lambda _: done.wait(10) and None):
        with pytest.raises(OperatorError, match="did not answer") as refusal:
            call(tmp_path / "s", "x", {}, timeout=0.05)
        done.set()
    assert refusal.value.code is Exit.TRY_AGAIN


def test_no_gateway_is_exit_69(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refusal:
        call(tmp_path / "missing", "x", {})
    assert refusal.value.code is Exit.NOT_RUNNING
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "dead"))
    with pytest.raises(OperatorError) as refusal:
        call(tmp_path / "dead", "x", {})
    assert refusal.value.code is Exit.NOT_RUNNING


def test_a_home_that_lies_deep_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)

    def serve(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(encode_frame({"v": 1, "result": "deep"}))

    with serving(deep / "control.sock", serve):
        assert call(deep / "control.sock", "x", {}) == "deep"
