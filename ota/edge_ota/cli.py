"""The command line of edge-ota: one subcommand a task, each delegated to the module that does it.

Rules: a task's module is imported only when its subcommand runs, so that no one needs torch to train the classifier or
TensorFlow to train the writer. A task is a module with `main(argv) -> int`. Exit codes: 0, 1 failed, 2 usage;
3 waits for signatures. Ctrl-C and a closed pipe end a task quietly, with the codes of a shell: it may not have been done.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

RECIPES: dict[str, tuple[str, str]] = {
    "classifier": ("edge_ota.train.classifier", "the INT8 classifier that names the kind of an anomaly"),
    "writer": ("edge_ota.train.writer", "the INT8 language model that phrases incidents"),
}
"""Recipe name -> the module that trains it, and what it makes."""
TASKS: dict[str, tuple[str, str]] = {
    "adapter": ("edge_ota.adapter", "make a release of a base that devices have and what changes in its writer"),
    "build": ("edge_ota.build", "write the manifest of a release's folder"),
    "calibrate": ("edge_ota.calibrate.certificate", "measure a release's writer and write its certificate"),
    "curve": ("edge_ota.calibrate.curve", "how much has to be escalated for how much quality"),
    "keys": ("edge_ota.keys", "make and show signing keys"),
    "group-key": ("edge_ota.group_key", "make keys that seal releases, and give them to gateways"),
    "init": ("edge_ota.init", "begin a repository of releases"),
    "sign": ("edge_ota.sign", "add a signature to a metadata file, also on a machine without a network"),
    "commit": ("edge_ota.commit", "publish what has enough signatures"),
    "publish": ("edge_ota.publish", "put a release into a repository for a fleet group"),
    "promote": ("edge_ota.promote", "give a group's release to another group"),
    "rotate": ("edge_ota.rotate", "change who may sign for a role"),
    "revoke": ("edge_ota.revoke", "take back a group's release, or a key"),
    "refresh": ("edge_ota.refresh", "renew what expires soon"),
    "bundle": ("edge_ota.bundle", "one group's part of a repository as a tar file"),
    "inspect": ("edge_ota.inspect", "show and verify a repository, a bundle or a release"),
    "serve": ("edge_ota.serve", "serve a repository over HTTP, for trials"),
}
"""Task name -> the module that does it, and what it does."""


INTERRUPTED, CLOSED_PIPE = 130, 141
"""128 and the number of the signal, SIGINT and SIGPIPE, as a shell gives for a program that it ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edge-ota train RECIPE [OPTIONS]` or `edge-ota TASK [OPTIONS]`; `--help` after it lists the options of one."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the locale cannot write is shown with escapes; it does not end the task.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter must not stumble over it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return code


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["train"] and len(arguments) > 1 and arguments[1] in RECIPES:
        return _run(RECIPES[arguments[1]][0], arguments[2:])
    if arguments and arguments[0] in TASKS:
        return _run(TASKS[arguments[0]][0], arguments[1:])
    if arguments[:1] == ["train"] and len(arguments) > 1 and not arguments[1].startswith("-"):
        print(f"edge-ota: no recipe {arguments[1]!r}", file=sys.stderr)
    elif arguments and arguments[0] != "train" and not arguments[0].startswith("-"):
        print(f"edge-ota: no task {arguments[0]!r}", file=sys.stderr)
    help_wanted = not {"-h", "--help"}.isdisjoint(arguments[:2])
    print(_usage(), file=sys.stdout if help_wanted else sys.stderr)
    return 0 if help_wanted else 2


def _run(module: str, arguments: list[str]) -> int:
    try:
        task = import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "edge_ota":
            raise
        print(f"edge-ota: {module} needs {error.name}: install edge-ota[train]", file=sys.stderr)
        return 1
    return int(task.main(arguments))


def _usage() -> str:
    lines = ["usage: edge-ota train RECIPE [OPTIONS]", "       edge-ota TASK [OPTIONS]", "", "recipes:"]
    lines += [f"  {name:<12}{what}" for name, (_, what) in RECIPES.items()]
    lines += ["", "tasks:", *(f"  {name:<12}{what}" for name, (_, what) in TASKS.items())]
    codes = "Exit codes: 0 done; 1 failed, and why; 2 wrong usage; 3 documents wait for signatures; 130 Ctrl-C."
    return "\n".join([*lines, "", "`--help` after one of these lists its options.", codes])
