"""The command line of edge-ota: one subcommand a task, each delegated to the module that does it.

Rules: a task's module is imported only when its subcommand runs, so that no one needs torch to train the classifier or
TensorFlow to train the writer. A recipe is a module with `main(argv) -> int`. Exit codes: 0, 1 failed, 2 usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

RECIPES: dict[str, tuple[str, str]] = {
    "classifier": ("edge_ota.train.classifier", "the INT8 classifier that names the kind of an anomaly"),
    "writer": ("edge_ota.train.writer", "the INT8 language model that phrases incidents"),
}
"""Recipe name -> the module that trains it, and what it makes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edge-ota train RECIPE [OPTIONS]`; the options are the recipe's own, `--help` lists them."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) < 2 or arguments[0] != "train" or arguments[1] not in RECIPES:
        help_wanted = not {"-h", "--help"}.isdisjoint(arguments[:2])
        print(_usage(), file=sys.stdout if help_wanted else sys.stderr)
        return 0 if help_wanted else 2
    module, _ = RECIPES[arguments[1]]
    try:
        recipe = import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "edge_ota":
            raise
        print(f"edge-ota: training needs {error.name}: install edge-ota[train]", file=sys.stderr)
        return 1
    return int(recipe.main(arguments[2:]))


def _usage() -> str:
    lines = ["usage: edge-ota train RECIPE [OPTIONS]", "", "recipes:"]
    lines += [f"  {name:<12}{what}" for name, (_, what) in RECIPES.items()]
    return "\n".join([*lines, "", "`edge-ota train RECIPE --help` lists the options of one."])
