"""The house limits as rules over syntax trees: each takes a module and yields what breaks it.

They look at the shape of code only, so they are cheap and a little blunt: a name in capitals counts as a
constant unless something changes it, and "work at import" means calls into the world outside the process.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LONGEST_FUNCTION = 40  # lines of code in its body: without docstring, comments and blank lines
LONGEST_FILE = 440  # all lines; "about 400"

MUTABLE_TYPES = {
    "list",
    "dict",
    "set",
    "bytearray",
    "defaultdict",
    "deque",
    "Counter",
    "OrderedDict",
    "LifoQueue",
}
MUTABLE_TYPES |= {
    "Queue",
    "SimpleQueue",
    "Lock",
    "RLock",
    "Event",
    "Condition",
    "Semaphore",
    "WeakKeyDictionary",
}
MUTABLE_TYPES |= {"WeakValueDictionary", "WeakSet", "count", "cycle", "Random"}
CHANGING_METHODS = {
    "append",
    "extend",
    "insert",
    "add",
    "update",
    "pop",
    "popitem",
    "clear",
    "remove",
    "discard",
}
CHANGING_METHODS |= {"setdefault", "sort", "reverse", "appendleft", "popleft"}
WORLD = {
    "open",
    "os",
    "socket",
    "subprocess",
    "time",
    "random",
    "secrets",
    "asyncio",
    "threading",
    "print",
    "input",
}
WORLD |= {"signal", "logging", "multiprocessing", "tempfile", "shutil"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "stuff"}
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    path: Path
    text: str
    tree: ast.Module

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes, walked once for all rules."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def functions(self) -> tuple[tuple[str, Function, frozenset[ast.AST]], ...]:
        """All functions with their qualified names and the nodes in them."""
        return tuple((name, found, frozenset(ast.walk(found))) for name, found in functions(self.tree))


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    line: int
    name: str
    text: str


Rule = Callable[[Module], Iterator[Finding]]


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """All functions with their qualified names."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FUNCTIONS):
                yield prefix + child.name, child
            if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    yield from walk(tree, "")


def called_name(call: ast.Call) -> str:
    """`a.b.c` of `a.b.c(…)`, as far as it is names and attributes."""
    parts: list[str] = []
    node: ast.expr = call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    elif isinstance(node, ast.Call):
        parts.append(called_name(node) + "()")
    return ".".join(reversed(parts))


def long_function(module: Module) -> Iterator[Finding]:
    lines = module.text.splitlines()
    for name, function, _ in module.functions:
        first = function.body[0]
        has_docstring = ast.get_docstring(function, clean=False) is not None
        skipped = range(first.lineno, (first.end_lineno or first.lineno) + 1) if has_docstring else range(0)
        numbers = range(first.lineno, (function.end_lineno or function.lineno) + 1)
        code = [
            n
            for n in numbers
            if n not in skipped and (line := lines[n - 1].strip()) and not line.startswith("#")
        ]
        if len(code) > LONGEST_FUNCTION:
            yield Finding("long-function", function.lineno, name, f"{len(code)} lines")


def long_file(module: Module) -> Iterator[Finding]:
    count = module.text.count("\n")
    if count > LONGEST_FILE:
        yield Finding("long-file", 1, "", f"{count} lines")


def vague_name(module: Module) -> Iterator[Finding]:
    for part in (module.path.stem, module.path.parent.name):
        if part in VAGUE_NAMES:
            yield Finding("vague-name", 1, part, "says nothing about what is in it")


def module_state(module: Module) -> Iterator[Finding]:
    """Module-level values that can change: made mutable without a constant's name, or changed somewhere."""
    constants: set[str] = set()
    for statement in module.tree.body:
        targets, value = _assignment(statement)
        for name in targets:
            if isinstance(value, DISPLAYS):
                constants.add(name)
                if not name.strip("_").isupper() and name != "__all__":
                    yield Finding(
                        "module-state", statement.lineno, name, "a mutable value under a variable's name"
                    )
            elif isinstance(value, ast.Call) and called_name(value).rpartition(".")[2] in MUTABLE_TYPES:
                yield Finding(
                    "module-state", statement.lineno, name, f"{called_name(value)}() at module level"
                )
    inside = frozenset[ast.AST]().union(*(nodes for _, _, nodes in module.functions))
    for node in module.nodes:
        if isinstance(node, ast.Global):
            yield Finding("module-state", node.lineno, ", ".join(node.names), "`global`")
        elif node in inside and (name := _changed_name(node)) in constants:
            yield Finding("module-state", getattr(node, "lineno", 1), name, "a module's value is changed")


def _assignment(statement: ast.stmt) -> tuple[list[str], ast.expr | None]:
    if isinstance(statement, ast.Assign):
        return [t.id for t in statement.targets if isinstance(t, ast.Name)], statement.value
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id], statement.value
    return [], None


def _changed_name(node: ast.AST) -> str:
    """The plain name whose contents a statement or call changes, or ""."""
    owner: ast.expr | None = None
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CHANGING_METHODS
    ):
        owner = node.func.value
    elif isinstance(node, (ast.Assign, ast.Delete)):
        subscripts = [t.value for t in node.targets if isinstance(t, ast.Subscript)]
        owner = subscripts[0] if subscripts else None
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
        owner = node.target.value
    return owner.id if isinstance(owner, ast.Name) else ""


def unbounded_cache(module: Module) -> Iterator[Finding]:
    """`functools.cache` on a function with arguments grows for ever."""
    for name, function, _ in module.functions:
        for decorator in function.decorator_list:
            text = ast.unparse(decorator)
            bare = text in ("cache", "functools.cache") and bool(function.args.args)
            if bare or "maxsize=None" in text or text.endswith("lru_cache(None)"):
                yield Finding("unbounded-cache", function.lineno, name, f"@{text}")


def import_work(module: Module) -> Iterator[Finding]:
    """Statements that do something when the module is imported."""
    for statement in module.tree.body:
        if isinstance(statement, (ast.For, ast.While, ast.With)):
            yield Finding(
                "import-work", statement.lineno, type(statement).__name__, "a statement at module level"
            )
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            yield Finding(
                "import-work", statement.lineno, called_name(statement.value), "a call at module level"
            )
        else:
            _, value = _assignment(statement)
            for call in ast.walk(value) if value else ():
                if isinstance(call, ast.Call) and called_name(call).partition(".")[0] in WORLD:
                    yield Finding("import-work", call.lineno, called_name(call), "reaches outside at import")


def bare_task(module: Module) -> Iterator[Finding]:
    """Tasks that belong to no supervised group."""
    for node in module.nodes:
        if not isinstance(node, ast.Call):
            continue
        name = called_name(node)
        owner, _, last = name.rpartition(".")
        loop = owner in ("asyncio", "") or owner.endswith(("loop", "loop()"))
        if (last == "create_task" and loop) or last in ("ensure_future", "run_coroutine_threadsafe"):
            yield Finding("bare-task", node.lineno, name, "a task outside a supervised group")


def private_parts(module: Module) -> Iterator[Finding]:
    """ctypes, and the standard library's private TLS objects."""
    for node in module.nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Attribute) and node.attr in ("_sslobj", "_SSLProtocol"):
            names = [node.attr]
        for name in names:
            if name.partition(".")[0] in ("ctypes", "_ssl", "_sslobj", "_SSLProtocol"):
                yield Finding("private-parts", getattr(node, "lineno", 1), name, "not ours to use")


def broad_except(module: Module) -> Iterator[Finding]:
    for name, _, nodes in module.functions:
        for node in nodes:
            if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _raises_again(node):
                yield Finding("broad-except", node.lineno, name, "catches every error")


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(c, ast.Name) and c.id in ("Exception", "BaseException") for c in caught)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(s, ast.Raise) and s.exc is None for s in handler.body)


def sleeping(module: Module) -> Iterator[Finding]:
    """`time.sleep` blocks a loop or hides a missing event."""
    for name, _, nodes in module.functions:
        for node in nodes:
            if isinstance(node, ast.Call) and called_name(node) == "time.sleep":
                yield Finding("sleeping", node.lineno, name, "time.sleep")


RULES: tuple[Rule, ...] = (
    long_function,
    long_file,
    vague_name,
    module_state,
    unbounded_cache,
    import_work,
    bare_task,
    private_parts,
    broad_except,
    sleeping,
)


def read_module(path: Path) -> Module:
    text = path.read_text()
    return Module(path, text, ast.parse(text))


def findings(module: Module) -> Iterator[Finding]:
    """Everything that the rules find; a nested function is reported once."""
    seen: set[tuple[str, int, str]] = set()
    for rule in RULES:
        for finding in rule(module):
            key = (finding.rule, finding.line, finding.text)
            if key not in seen:
                seen.add(key)
                yield finding
