"""The requests about updates: each says what it did, and who cannot be asked is an error in words."""

from __future__ import annotations

import queue
from concurrent.futures import Future
from typing import Any

import pytest

from edge_agent.errors import RequestError
from edge_agent.messages import RequestBody, UpdateState
from edge_agent.update.orders import Cancel, Check, Order, RollBack
from edge_agent.workers.update_requests import (
    Updates,
    answer_update_cancel,
    answer_update_check,
    answer_update_rollback,
    answer_update_status,
)


class Recording:
    def __init__(self, *, full: bool = False, cancelled: bool = False) -> None:
        self.orders: list[Order] = []
        self.full, self.cancelled = full, cancelled

    def state(self) -> UpdateState:
        return UpdateState(gateway="gw", release="r-1")

    def ask(self, order: Order) -> Future[str]:
        if self.full:
            raise queue.Full
        self.orders.append(order)
        done: Future[str] = Future()
        if self.cancelled:
            done.cancel()
        else:
            done.set_result("done so")
        return done


class Desk:
    def __init__(self, updates: Updates | None) -> None:
        self.updates = updates


def body(**members: Any) -> RequestBody:
    return RequestBody(None, members)


def test_each_command_is_its_order() -> None:
    updates = Recording()
    desk = Desk(updates)
    for answer, members in (
        (answer_update_check, {}),
        (answer_update_check, {"again": True}),
        (answer_update_cancel, {}),
        (answer_update_rollback, {}),
    ):
        answered: Any = answer(desk, body(**members))
        assert answered["done"] == "done so"
        assert answered["update"]["release"] == "r-1"
    assert updates.orders == [Check(), Check(again=True), Cancel(), RollBack()]


def test_the_status_is_the_document() -> None:
    answered: Any = answer_update_status(Desk(Recording()), body())
    assert answered["gateway"] == "gw"


def test_what_is_asked_wrongly_is_said() -> None:
    with pytest.raises(RequestError, match="again"):
        answer_update_check(Desk(Recording()), body(again="yes"))


@pytest.mark.parametrize("updates", [Recording(full=True), Recording(cancelled=True)])
def test_who_is_busy_says_so(updates: Recording) -> None:
    with pytest.raises(RequestError, match="busy"):
        answer_update_rollback(Desk(updates), body())


def test_where_nobody_updates_it_is_said() -> None:
    with pytest.raises(RequestError, match="updates-off"):
        answer_update_status(Desk(None), body())
