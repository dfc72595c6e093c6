"""The operator's files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gatepost.control.shell.files import MAX_BYTES, read_file, read_passphrase_file, write_file
from gatepost.core.errors import OperatorError


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(OperatorError, match="longer than 8 MB"):
        read_file(str(path))


@pytest.mark.parametrize(
    "content", [b"open", b"open\n", b"open\r\n", b"open\nmore\n", b"\xef\xbb\xbfopen\r\n"]
)
def test_a_pass_phrase_is_the_first_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert read_passphrase_file(str(tmp_path / "secret")) == "open"


def test_a_pass_phrase_keeps_its_blanks_and_is_utf_8(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(" grün \n".encode())
    assert read_passphrase_file(str(tmp_path / "secret")) == " grün "
    (tmp_path / "secret").write_bytes(b"\xff\n")
    with pytest.raises(OperatorError, match="UTF-8"):
        read_passphrase_file(str(tmp_path / "secret"))


def test_a_secret_file_is_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(0o666)
    write_file(str(path), b"new", secret=True)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be written"):
        write_file(str(tmp_path / "gone" / "out"), b"new")
    with pytest.raises(OperatorError, match="directory"):
        write_file(str(tmp_path), b"new")
    assert list(tmp_path.iterdir()) == []
