"""The house limits hold in the product, but for the exceptions that give their reasons; and the rules can fail."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from tests.docs.house_rules import Module, findings, read_module

PROJECT = Path(__file__).parents[2]
SOURCES = {PROJECT / "src": "gatepost", PROJECT: "bench"}
EXCEPTIONS = tomllib.loads((Path(__file__).parent / "house_exceptions.toml").read_text())["exception"]


def test_the_house_limits_hold() -> None:
    excused = {(e["path"], e["rule"], name) for e in EXCEPTIONS for name in e["names"]}
    used: set[tuple[str, str, str]] = set()
    broken: list[str] = []
    for root, package in SOURCES.items():
        for path in sorted((root / package).rglob("*.py")):
            place = str(path.relative_to(root))
            for finding in findings(read_module(path)):
                key = (place, finding.rule, finding.name)
                if key in excused:
                    used.add(key)
                else:
                    broken.append(f"{place}:{finding.line}: {finding.rule}: {finding.name} ({finding.text})")
    assert not broken, "over the house limits:\n" + "\n".join(broken)
    assert used == excused, f"exceptions that nothing needs: {sorted(excused - used)}"


def test_every_exception_gives_a_reason() -> None:
    for exception in EXCEPTIONS:
        assert len(exception["reason"]) > 20, exception


LONG_BODY = "def f() -> int:\n" + "    x = 1\n" * 41 + "    return x\n"
LONG_WITHOUT_WORDS = 'def f() -> int:\n    """Text.\n' + "\n    more\n" * 30 + '    """\n    return 1\n'


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("long-function", LONG_BODY),
        ("long-file", "\n" * 500),
        ("module-state", "seen = {}"),
        ("module-state", "LOCK = threading.Lock()"),
        ("module-state", "KNOWN = {}\ndef f():\n    KNOWN['a'] = 1"),
        ("module-state", "KNOWN = []\ndef f():\n    KNOWN.append(1)"),
        ("module-state", "N = 1\ndef f():\n    global N\n    N = 2"),
        ("unbounded-cache", "@cache\ndef f(x):\n    return x"),
        ("import-work", "HOST = socket.gethostname()"),
        ("import-work", "register(thing)"),
        ("import-work", "for x in y:\n    pass"),
        ("bare-task", "async def f():\n    asyncio.create_task(g())"),
        ("bare-task", "def f(self):\n    self._loop.create_task(g())"),
        ("private-parts", "import ctypes"),
        ("private-parts", "def f(x):\n    return x._sslobj"),
        ("broad-except", "def f():\n    try:\n        g()\n    except Exception:\n        return 1"),
        ("sleeping", "def f():\n    time.sleep(1)"),
    ],
)
def test_a_rule_finds_what_it_is_for(rule: str, code: str) -> None:
    module = Module(Path("gatepost/relay/thing.py"), code, ast.parse(code))
    assert rule in {finding.rule for finding in findings(module)}


@pytest.mark.parametrize(
    "code",
    [
        LONG_WITHOUT_WORDS,
        "COMMANDS = {'a': 1}\nPATTERN = re.compile('x')\nENTRY = struct.Struct('>I')",
        "NAMES = []\nNAMES.sort",
        "async def f(group):\n    group.create_task(g())",
        "def f():\n    try:\n        g()\n    except Exception:\n        clean()\n        raise",
        "@lru_cache(maxsize=64)\ndef f(x):\n    return x",
    ],
)
def test_the_rules_let_good_code_pass(code: str) -> None:
    module = Module(Path("gatepost/relay/thing.py"), code, ast.parse(code))
    assert not list(findings(module))


def test_a_module_called_utils_is_found() -> None:
    module = Module(Path("gatepost/relay/utils.py"), "", ast.parse(""))
    assert [finding.rule for finding in findings(module)] == ["vague-name"]
