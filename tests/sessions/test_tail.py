"""The end of a file that grows."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.sessions import tail
from rlrun.sessions.tail import Tail, offset_of_last_lines

lines = st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b".")), max_size=12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@given(lines, st.integers(0, 15), st.integers(1, 40))
def test_the_last_lines_are_found_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes], count: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("tail") / "log"
    path.write_bytes(b"".join(line + b"\n" for line in content) + b"torn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "_BLOCK_BYTES", block)
        offset = offset_of_last_lines(path, count)
    kept = content[max(0, len(content) - count) :]
    assert path.read_bytes()[offset:] == b"".join(line + b"\n" for line in kept) + b"torn"


def test_a_carriage_return_ends_no_line(path: Path) -> None:
    path.write_bytes(b"one\n10%\r20%\r30%\n")
    assert Tail(path, num_last_lines=1).read() == [b"10%\r20%\r30%"]


def test_new_lines_come_once(path: Path) -> None:
    follower = Tail(path)
    assert follower.read() == []
    path.write_bytes(b"one\ntwo\n")
    assert follower.read() == [b"one", b"two"]
    assert follower.read() == []


def test_a_line_comes_when_its_newline_is_there(path: Path) -> None:
    follower = Tail(path)
    path.write_bytes(b"one\ntw")
    assert follower.read() == [b"one"]
    path.write_bytes(b"one\ntwo\n")
    assert follower.read() == [b"two"]


def test_it_can_begin_near_the_end(path: Path) -> None:
    path.write_bytes(b"one\ntwo\nthree\n")
    assert Tail(path, num_last_lines=2).read() == [b"two", b"three"]
    assert Tail(path, num_last_lines=0).read() == []


def test_a_file_that_was_cut_is_followed_from_its_new_end(path: Path) -> None:
    path.write_bytes(b"one\ntwo\n")
    follower = Tail(path)
    follower.read()
    path.write_bytes(b"one\n")
    assert follower.read() == []
    path.write_bytes(b"one\nnew\n")
    assert follower.read() == [b"new"]


def test_a_file_that_was_replaced_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(b"one\ntwo\n")
    follower = Tail(path)
    follower.read()
    path.rename(path.with_name("sealed"))
    path.write_bytes(b"1\n")
    assert follower.read() == [b"1"]
    assert follower.num_replacements == 1
