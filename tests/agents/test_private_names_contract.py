"""No private name of somebody else's is touched that `test_transport_contract.py` does not pin: in agents only by the transport, in tests where it is said."""
from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
AGENTS = ROOT / "agents"
PINS = ROOT / "tests" / "agents" / "test_transport_contract.py"
HERE = Path(__file__)

PINNED = {
    # aiokafka
    "_batches", "_builder", "_consumer_record", "_coordinator", "_do_commit_offsets", "_do_heartbeat", "_fetch_max_wait_ms", "_fetcher",
    "_isolation_level", "_max_poll_records", "_message_accumulator", "_muted_partitions", "_partition_records", "_pop_batch", "_proc_fetch_request",
    "_push_error_to_user", "_records", "_retry_backoff", "_send_produce_req", "_send_req", "_sender", "_subscription", "_subscriptions", "_txn_manager",
    # Faust
    "_add_gap", "_commit", "_consumer", "_create_worker_consumer", "_ensure_consumer", "_fetch_records", "_new_consumer_thread", "_producer",
    "_read_offset", "_settings_auth", "_settings_default", "_settings_extra", "_thread", "_update_channels",
    "__wrapped__",
    # Python: ends a process without cleaning up
    "_exit",
}  # fmt: skip
"""Every private name of somebody else's that agents touch or override; each is pinned by a test of PINS."""
PINNED_FOR_TESTS = {"_closed", "_cluster", "_maybe_wait_metadata", "_sender_routine", "_sender_task", "_stopped", "_topics"}
"""Those that only tests touch, besides: pinned as well."""
PUBLIC = {"_replace", "_Element"}
"""Documented by those they belong to: named tuples, lxml's type of an element."""
OURS = {"tests/agents/test_embedded_kafka.py": {"_java"}, "tests/agents/test_lost_words.py": {"_floors", "_told"},
        "tests/sim/checkers.py": {"_due"}, "tests/sim/test_checkers.py": {"_due"}}  # fmt: skip
"""Names of ours, of objects whose class the file gets from others."""


def private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def foreign(source: str) -> set[str]:
    """Private names in a file that belong to somebody else: of another object, or of this one but never made in this file. `getattr` counts, too: with a
    default a rename would pass without a word."""
    own, mine, others, overridden = set[str](), set[str](), set[str](), set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ctx) if private(name):
                (own if isinstance(ctx, ast.Store) else mine).add(name)
            case ast.Attribute(attr=name) if private(name):
                others.add(name)
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]) if name.startswith("_"):
                others.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                own.add(name)
                overridden |= {name} & PINNED
    return others | (mine - own) | overridden


def touched(source: str) -> set[str]:
    """Private names in a file of whatever object, those that a test sets through `monkeypatch` as well."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) if private(name):
                found.add(name)
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]) if private(name):
                found.add(name)
            case ast.Call(func=ast.Attribute(attr="setattr" | "delattr"), args=[_, ast.Constant(value=str(name)), *_]) if private(name):
                found.add(name)
    return found


@cache
def made(file: Path) -> frozenset[str]:
    """Private names that a file of ours gives to something."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
    return frozenset(name for name in found if private(name))


def imported(file: Path) -> set[Path]:
    """Files of ours that a file imports by name."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {module, *(f"{module}.{alias.name}" for alias in aliases)}
    paths = [ROOT / name.replace(".", "/") for name in names]
    return {found for path in paths for found in (path.with_suffix(".py"), path / "__init__.py") if found.is_file()}


def asserted(source: str) -> set[str]:
    """Names that the tests of a file assert something of: in the condition of an `assert` or among a test's parameters. What a docstring, a message or an
    assignment mentions is not asserted."""
    said = set[str]()
    for test in ast.parse(source).body:
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
            conditions = [node.test for node in ast.walk(test) if isinstance(node, ast.Assert)]
            for part in (node for root in (*test.decorator_list, *conditions) for node in ast.walk(root)):
                if isinstance(part, ast.Attribute):
                    said.add(part.attr)
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    said |= set(re.findall(r"\w+", part.value))
    return said


def test_what_counts_as_somebody_elses_private_name() -> None:
    """So that a name of ours in one file hides no use of the same name in another."""
    assert foreign("class A:\n def __init__(self):\n  self._client = 1\n def _own(self):\n  return self._client + self._own()") == set()
    assert foreign("x = consumer._client._wait_on_metadata(t)") == {"_client", "_wait_on_metadata"}
    assert foreign("class A(B):\n def f(self):\n  return self._inherited") == {"_inherited"}
    assert foreign("getattr(self, '_consumer', None)") == {"_consumer"}
    assert foreign("class A(B):\n def _commit(self): ...") == {"_commit"}, "an override of what is pinned"
    assert foreign("import a\nclass A:\n _own: int = 1\n def f(self): return self.__class__, a.__name__, self._own") == set()
    assert touched("monkeypatch.setattr(producer, '_sender', 1)\nx._y") == {"_sender", "_y"}


def test_what_counts_as_asserted() -> None:
    body = 'def test_x():\n """_docstring"""\n x._set = "_text"\n assert {}, "_message"'
    assert asserted(body.format('x._read == "self._said"')) == {"_read", "self", "_said"}
    assert asserted("@pytest.mark.parametrize('name', ['_given'])\ndef test_x(name): ...") >= {"_given"}
    assert asserted("def helper():\n assert x._read") == set(), "nobody runs it"


def test_no_private_name_is_touched_by_agents_that_is_not_pinned() -> None:
    used = {name: file.relative_to(AGENTS).as_posix() for file in sorted(AGENTS.rglob("*.py")) for name in foreign(file.read_text())}
    assert {name: file for name, file in used.items() if name not in PINNED} == {}
    assert set(used) == PINNED, "what is no longer touched is no longer pinned"
    assert {file.partition("/")[0] for file in used.values()} == {"transport"}, "everybody else goes by what is public"


def test_elsewhere_a_private_name_is_ours_or_pinned() -> None:
    """Tests know the insides of what they test. Ours is what the file makes itself, or one that it imports."""
    left, for_tests = dict[str, set[str]](), set[str]()
    for file in sorted(file for folder in ("streams", "topics", "tests") for file in (ROOT / folder).rglob("*.py") if file not in (PINS, HERE)):
        name = file.relative_to(ROOT).as_posix()
        theirs = touched(file.read_text()) - made(file).union(*map(made, imported(file))) - PUBLIC - OURS.get(name, set())
        if not name.startswith("tests/") or not theirs <= PINNED | PINNED_FOR_TESTS:
            left |= {name: theirs} if theirs else {}
        for_tests |= theirs - PINNED
    assert left == {}
    assert for_tests == PINNED_FOR_TESTS, "what is no longer touched is no longer pinned"


def test_every_pinned_name_is_asserted() -> None:
    assert (PINNED | PINNED_FOR_TESTS) - asserted(PINS.read_text()) == set()
