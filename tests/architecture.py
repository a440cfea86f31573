"""The import rules of the project as data, and the checker that holds a tree to them.

The checker reads source text with `ast`; it imports nothing of what it checks. It sees every import: at the top of a
module, inside a function, under `TYPE_CHECKING`, relative, and `import_module("...")` with a literal name. It works on
any tree of the same shape, so that its own tests can break each rule on purpose (`test_architecture.py`).

Words: a *module* is `edge_agent.decode.json`; its *unit* is the first name under the package, `decode`. Layers are made
of units. A layer may import only layers below it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DEVICE = "edge_agent"
OPERATOR = "edge_ota"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("values",),
    ("atomic", "chain", "clock", "systemd", "metrics", "regular_file"),
    ("config",),
    ("credentials", "private_file", "wire"),
    ("release",),
    ("device_key",),
    ("contents",),
    (
        "decode",
        "detect",
        "incidents",
        "messages",
        "egress",
        "grammar",
        "fill",
        "facts",
        "plan",
        "template",
        "prompt",
        "verify",
        "confidence",
        "policy",
    ),
    ("pipeline",),
    ("engines", "mqtt", "journal", "escalate", "update"),
    ("workers", "web", "probe"),
    ("supervisor",),
    ("service",),
    ("demo", "replay", "commands"),
    ("bench",),
    ("cli",),
    ("__main__",),
)
"""From the bottom up."""

OPEN_LAYERS: tuple[str, ...] = ("decode",)
"""The layers, each named by its first unit, whose units may import each other: only the steps of the core."""

NO_UNIT_OF_ITS_OWN = ("__init__", "factory")
"""The package's own docstring and version, and the data of the factory release: anyone may import them, they import nothing."""

CORE: tuple[str, ...] = (
    "errors", "values", "chain", "config", "release", "decode", "detect", "incidents", "messages", "egress", "grammar", "fill",
    "facts", "plan", "template", "prompt", "verify", "confidence", "policy", "pipeline", "update.machine",
    "update.record",
)  # fmt: skip
"""What takes values and the time and returns values. Units, or single modules of a unit."""

CORE_FORBIDDEN: tuple[str, ...] = (
    "threading", "socket", "sqlite3", "subprocess", "asyncio", "time", "random",
    "paho", "ctranslate2", "usearch", "tflite_runtime", "ai_edge_litert", "urllib3",
)  # fmt: skip

ONE_HOME: dict[str, tuple[str, ...]] = {
    "paho": ("mqtt", "bench"),
    "ctranslate2": ("engines.writer",),
    "tflite_runtime": ("engines.classifier",),
    "ai_edge_litert": ("engines.classifier",),
    "usearch": ("engines.memory",),
    "sqlite3": ("journal", "bench"),
    "urllib3": ("escalate.http",),
    "amqtt": ("demo.broker",),
    "tuf": ("update.trust", "update.working_copy", "update.seen", "update.transport"),
    "watchdog": ("update.watch",),
}
"""Which modules of the device package may import a library. The bench has paho and SQLite too: its comparisons are a bare
paho loop and plain SQLite."""

OPERATOR_MAY_IMPORT: tuple[str, ...] = (
    *CORE, "atomic", "engines", "factory", "private_file", "regular_file", "__init__",
    "update.merging", "update.adapter", "update.weights",
)  # fmt: skip
"""The merging of adapters, because the operator must make the very bytes that a device makes."""

MIN_DOCSTRING_WORDS = 6
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_FAN_OUT = 8

REASONS: dict[str, str] = {
    "unplaced": "every unit has a place in the layers, so that what it may import is decided once; add it to the list",
    "layer": "a module may import only what stands below it: that is what lets each part be read, tested and replaced alone",
    "sibling": "units of one layer do not know each other: what two of them share belongs below them, what joins them above",
    "core": "the core takes values and the time and returns values: no I/O, threads, clock, chance or native library, so that"
    " it is deterministic and runs in tests as it runs on a device",
    "home": "a library with a thread, a file or a native resource has one home, so that it has one owner",
    "operator": "the device never imports the operator's side: it is another distribution and is not installed on a gateway",
    "operator-side": "the operator's tools share the pure core, atomic and private files and, to evaluate, the engines: the"
    " rest of the device's shell has threads and state of its own",
    "cycle": "modules that import each other can only be understood, tested and changed together",
    "docstring": "a module says what it is for and its rules, so that a reader need not guess them from its code",
    "unit-test": "each module has its own test file at the mirrored path, so that its tests are found where one looks for them",
    "syntax": "a file that does not parse cannot be checked",
}


@dataclass(frozen=True)
class Violation:
    """One broken rule: where, what, and through `rule` why it matters."""

    rule: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    why: {REASONS[self.rule]}"


@dataclass(frozen=True)
class Module:
    """One parsed source file."""

    name: str
    """Dotted, with the package: `edge_agent.decode.json`; a package is named by itself, without `__init__`."""
    path: Path
    is_package: bool
    tree: ast.Module
    imports: tuple[tuple[int, str], ...] = field(default=())
    """(line, dotted name as far as it is written), each import once per line."""

    @property
    def local(self) -> str:
        """The name without the package: `decode.json`; `__init__` for the package itself."""
        return self.name.partition(".")[2] or "__init__"

    @property
    def unit(self) -> str:
        """The first name under the package."""
        return self.local.partition(".")[0]


def check_tree(root: Path) -> list[Violation]:
    """Every violation in the tree at `root`, which holds `edge_agent/`, `tests/unit/` and, perhaps, `ota/edge_ota/`."""
    found: list[Violation] = []
    device = _load(root, root / DEVICE, found)
    operator = _load(root, root / "ota" / OPERATOR, found)
    names = {module.name for module in (*device, *operator)}
    for module in device:
        found += _placed(module)
        found += _imports_of_device(module, names)
        found += _unit_test(module, root)
    for module in operator:
        found += _imports_of_operator(module, names)
    for module in (*device, *operator):
        found += _docstring(module)
    found += _cycles({module.name: _targets(module, names) for module in (*device, *operator)})
    return sorted(found, key=lambda violation: (violation.where, violation.rule))


def guide(root: Path) -> list[str]:
    """Where the tree goes past its guide-lines on size and fan-out; worth a look, never a failure."""
    notes: list[str] = []
    modules = [*_load(root, root / DEVICE, []), *_load(root, root / "ota" / OPERATOR, [])]
    names = {module.name for module in modules}
    for module in modules:
        length = len(module.path.read_text(encoding="utf-8").splitlines())
        if length > MAX_MODULE_LINES:
            notes.append(f"{module.name}: {length} lines, guide is {MAX_MODULE_LINES}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    notes.append(f"{module.name}.{node.name}: {lines} lines, guide is {MAX_FUNCTION_LINES}")
        fan_out = len({name for _, name in _targets(module, names)})
        if fan_out > MAX_FAN_OUT:
            notes.append(f"{module.name}: imports {fan_out} modules of the project, guide is {MAX_FAN_OUT}")
    return notes


def _load(root: Path, package: Path, found: list[Violation]) -> list[Module]:
    modules: list[Module] = []
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError as error:
            found.append(Violation("syntax", str(path.relative_to(root)), f"line {error.lineno}: {error.msg}"))
            continue
        imports = tuple(sorted(set(_imports(tree, name, is_package))))
        modules.append(Module(name, path, is_package, tree, imports))
    return modules


def _imports(tree: ast.Module, name: str, is_package: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parents = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            argument = node.args[0]
            if (
                called in ("import_module", "__import__")
                and isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
            ):
                yield node.lineno, argument.value


def _targets(module: Module, names: set[str]) -> set[tuple[int, str]]:
    """The modules of the project that `module` imports: the longest prefix of each import that is one."""
    targets: set[tuple[int, str]] = set()
    for line, written in module.imports:
        if written.partition(".")[0] not in (DEVICE, OPERATOR):
            continue
        parts = written.removesuffix(".*").split(".")
        while len(parts) > 1 and ".".join(parts) not in names:
            parts.pop()
        targets.add((line, ".".join(parts)))
    return targets


def _layer(unit: str) -> int | None:
    return next((index for index, layer in enumerate(LAYERS) if unit in layer), None)


def _is_one_of(local: str, listed: tuple[str, ...]) -> bool:
    return any(local == entry or local.startswith(entry + ".") for entry in listed)


def _placed(module: Module) -> list[Violation]:
    if module.unit in NO_UNIT_OF_ITS_OWN or _layer(module.unit) is not None:
        return []
    return [Violation("unplaced", module.name, f"unit `{module.unit}` stands in no layer")]


def _imports_of_device(module: Module, names: set[str]) -> Iterator[Violation]:
    for line, written in module.imports:
        where = f"{module.name}:{line}"
        top = written.partition(".")[0]
        if top == OPERATOR:
            yield Violation("operator", where, f"imports {written}")
        if top in CORE_FORBIDDEN and _is_one_of(module.local, CORE):
            yield Violation("core", where, f"imports {top}")
        elif top in ONE_HOME and not _is_one_of(module.local, ONE_HOME[top]):
            yield Violation("home", where, f"imports {top}, whose home is {' and '.join(ONE_HOME[top])}")
    for line, target in sorted(_targets(module, names)):
        yield from _direction(module, line, target)


def _direction(module: Module, line: int, target: str) -> Iterator[Violation]:
    unit = target.partition(".")[2].partition(".")[0] or "__init__"
    where = f"{module.name}:{line}"
    if not target.startswith(DEVICE) or unit == module.unit or unit in NO_UNIT_OF_ITS_OWN:
        return
    mine, theirs = _layer(module.unit), _layer(unit)
    if module.unit in NO_UNIT_OF_ITS_OWN:
        yield Violation("layer", where, f"imports {target}, but everything may import `{module.unit}`")
    elif mine is None or theirs is None:
        return  # reported as unplaced
    elif theirs > mine:
        yield Violation("layer", where, f"imports {target}, which stands above it ({LAYERS[theirs]} over {LAYERS[mine]})")
    elif theirs == mine and LAYERS[mine][0] not in OPEN_LAYERS:
        yield Violation("sibling", where, f"imports {target}, which stands beside it")
    elif _is_one_of(module.local, CORE) and not _is_one_of(target.partition(".")[2], CORE):
        yield Violation("core", where, f"imports {target}, which is not of the core")


def _imports_of_operator(module: Module, names: set[str]) -> Iterator[Violation]:
    for line, target in sorted(_targets(module, names)):
        local = target.partition(".")[2] or "__init__"
        if target.partition(".")[0] == DEVICE and not _is_one_of(local, OPERATOR_MAY_IMPORT):
            yield Violation("operator-side", f"{module.name}:{line}", f"imports {target}")


def _docstring(module: Module) -> list[Violation]:
    text = ast.get_docstring(module.tree) or ""
    if len(text.split()) >= MIN_DOCSTRING_WORDS:
        return []
    what = f'docstring says too little: "{text}"' if text else "has no docstring"
    return [Violation("docstring", module.name, what)]


def _unit_test(module: Module, root: Path) -> list[Violation]:
    if module.is_package and not _has_code(module.tree):
        return []
    parts = module.local.split(".")
    if module.is_package:
        parts = [*(part for part in parts if part != "__init__"), "__init__"]
    parts[-1] = f"test_{parts[-1].strip('_')}.py"
    path = root / "tests" / "unit" / Path(*parts)
    if not path.is_file():
        return [Violation("unit-test", module.name, f"has no {path.relative_to(root)}")]
    functions = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef))
    if any(function.name.startswith("test") for function in functions):
        return []
    return [Violation("unit-test", module.name, f"{path.relative_to(root)} holds no test")]


def _has_code(tree: ast.Module) -> bool:
    """Whether a package's `__init__` does more than document, import and name constants."""
    return any(not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign) for node in tree.body)


def _cycles(edges: dict[str, set[tuple[int, str]]]) -> list[Violation]:
    """One violation a cycle, found depth first; a cycle is named from its smallest member on."""
    found: dict[tuple[str, ...], Violation] = {}
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            cycle = trail[trail.index(name) :]
            start = cycle.index(min(cycle))
            turned = (*cycle[start:], *cycle[:start])
            found.setdefault(
                turned, Violation("cycle", turned[0], "imports itself by way of " + " -> ".join((*turned, turned[0])))
            )
            return
        if name in done:
            return
        for target in sorted({target for _, target in edges.get(name, set())} - {name}):
            visit(target, [*trail, name])
        done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return list(found.values())
