"""Runs a task in a process of its own that is killed (SIGKILL) just before its n-th change of the file system.

What is only made durable is no change here: to whoever looks after a kill, and not after a power cut, it is the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_CHANGES = ("open", "write", "replace", "rename", "mkdir", "unlink", "remove", "rmdir")


def changes_of(task: Callable[[], int], counted: Path) -> int:
    """How many changes `task` makes when nobody kills it. `counted` is a file to tell it by."""
    code = _forked(task, 0, counted)
    assert code == 0, f"the task ends with {code}"
    return int(counted.read_text())


def killed_before(task: Callable[[], int], number: int) -> None:
    """Run `task` and kill it just before its change `number`, the first being 1."""
    code = _forked(task, number, None)
    assert code == -signal.SIGKILL, f"the task ended with {code} before its change {number}"


def _forked(task: Callable[[], int], number: int, counted: Path | None) -> int:
    """The exit code; negative for a signal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the test's process do not matter to the child
        child = os.fork()
    if child == 0:
        _run(task, number, counted)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _run(task: Callable[[], int], number: int, counted: Path | None) -> NoReturn:
    made = [0]
    really = {name: getattr(os, name) for name in _CHANGES}

    def counting(name: str) -> Callable[..., Any]:
        def change(*arguments: Any, **named: Any) -> Any:
            if name != "open" or arguments[1] & (os.O_CREAT | os.O_TRUNC):
                made[0] += 1
                if made[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return really[name](*arguments, **named)

        return change

    code = 70
    try:
        silent = really["open"](os.devnull, os.O_RDWR)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        for name in _CHANGES:
            setattr(os, name, counting(name))
        with contextlib.redirect_stdout(open(os.devnull, "w")), contextlib.redirect_stderr(sys.stdout):
            code = task()
        for name, real in really.items():
            setattr(os, name, real)
        if counted is not None:
            counted.write_text(str(made[0]))
    finally:
        os._exit(code)
