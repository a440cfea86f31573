"""Orders as files: in order, whole, removed durably, and nothing else is taken for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import RequestError, StorageError
from edge_agent.update import orders
from edge_agent.update.orders import Apply, Cancel, Check, Order, Orders, RollBack
from edge_agent.update.state_files import read_regular
from tests.unit.update.clocks import At

_ORDERS: tuple[Order, ...] = (Check(again=True), Apply(path="/media/stick/x.tar"), RollBack(leaves="ab"), Cancel(ends="cd"))


def test_orders_come_out_as_they_were_given_and_in_order(tmp_path: Path) -> None:
    theirs, ours = Orders(tmp_path), Orders(tmp_path)
    assert ours.waiting() == []
    clock = At()
    names = []
    for order in _ORDERS:
        clock.wall_s += 1
        names.append(theirs.give(order, clock))
    assert ours.waiting() == list(zip(names, _ORDERS, strict=True))
    ours.done(names[0])
    assert not theirs.is_waiting(names[0])
    assert theirs.is_waiting(names[1])
    assert [name for name, _ in ours.waiting()] == names[1:]
    ours.done(names[0])  # done again after a cut: nothing


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Input data was truncated"),
        (b"{", "truncated"),
        (b'{"order":"dance"}', "dance"),
        (b'{"order":"check","again":"yes"}', "bool"),
        (b'{"order":"check","also":1}', "also"),
        (b'{"order":"apply","path":"x.tar"}', "absolute"),
        (b'{"order":"apply","path":"/x\\u0000"}', "absolute"),
        (b"[" * 5_000, ""),
        (b'"' + b"x" * orders.MAX_ORDER_BYTES + b'"', ""),
        (b"\xff\xfe", ""),
    ],
)
def test_what_is_no_order_is_set_aside_with_its_reason(tmp_path: Path, data: bytes, why: str) -> None:
    folder = tmp_path / orders.FOLDER
    folder.mkdir()
    bad = f"{1:020d}-1.json"
    (folder / bad).write_bytes(data)
    ours = Orders(tmp_path)
    name = ours.give(Check(), At())
    assert ours.waiting() == [(name, Check())]
    assert not (folder / bad).exists()
    assert why in (folder / f"{bad}.refused.txt").read_text()
    assert (folder / f"{bad}.refused").read_bytes() == data


def test_links_fifos_and_folders_are_no_orders_and_are_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / orders.FOLDER
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b'{"order":"check"}')
    (folder / f"{1:020d}-1.json").symlink_to(secret)
    os.mkfifo(folder / f"{2:020d}-1.json")
    (folder / f"{3:020d}-1.json").mkdir()
    (folder / "notes.json").write_bytes(b"mine")
    assert Orders(tmp_path).waiting() == []
    assert secret.read_bytes() == b'{"order":"check"}'
    assert (folder / "notes.json").read_bytes() == b"mine"
    assert Orders(tmp_path).waiting() == []


def test_an_order_that_cannot_be_read_holds_up_none_after_it_and_is_read_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours, clock = Orders(tmp_path), At()
    first = ours.give(Check(), clock)
    clock.wall_s += 1
    second = ours.give(Cancel(), clock)

    def denied(path: Path, max_bytes: int) -> bytes | None:
        if path.name == first:
            raise StorageError(f"{path}: Permission denied")
        return read_regular(path, max_bytes)

    with monkeypatch.context() as patch:
        patch.setattr("edge_agent.update.orders.read_regular", denied)
        for _ in range(3):
            assert ours.waiting() == [(second, Cancel())]
    assert caplog.text.count("Permission denied") == 1
    assert ours.waiting() == [(first, Check()), (second, Cancel())]


def test_of_too_many_orders_another_is_not_taken(tmp_path: Path) -> None:
    clock = At()
    for _ in range(orders.MAX_WAITING):
        clock.wall_s += 1
        Orders(tmp_path).give(Check(), clock)
    with pytest.raises(RequestError, match="wait already"):
        Orders(tmp_path).give(Check(), clock)


def test_only_so_much_of_what_was_refused_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / orders.FOLDER
    folder.mkdir()
    for number in range(orders.MAX_REFUSED + 3):
        (folder / f"{number:020d}-1.json").write_bytes(b"x")
    assert Orders(tmp_path).waiting() == []
    assert len(list(folder.iterdir())) == 2 * orders.MAX_REFUSED


def test_what_a_cut_left_of_writing_is_no_order_and_is_cleaned_away(tmp_path: Path) -> None:
    folder = tmp_path / orders.FOLDER
    folder.mkdir()
    (folder / f".{1:020d}-1.json.tmp").write_bytes(b'{"order":"che')
    ours = Orders(tmp_path)
    assert ours.waiting() == []
    ours.clean()
    assert list(folder.iterdir()) == []


def test_a_clock_before_1970_gives_a_name_too(tmp_path: Path) -> None:
    ours = Orders(tmp_path)
    name = ours.give(Cancel(), At(-5.0))
    assert ours.waiting() == [(name, Cancel())]


@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    try:
        order = orders._order_in(data)
    except RequestError:
        return
    assert isinstance(order, Check | Apply | RollBack | Cancel)
