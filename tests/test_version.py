"""The version that reports carry."""
from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.version import ROOT, RUN, TESTS, code_version, until_now


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *words], cwd=root, check=True, capture_output=True)


def written(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(exist_ok=True, parents=True)
    (root / name).write_text(text)


def committed(root: Path, name: str, text: str) -> None:
    written(root, name, text)
    git(root, "add", ".")
    git(root, "commit", "-qm", name)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    for name in ("docs/benchmarks.json", "README.md", "tests/bench/load.py", "tests/sim/plan.py", "tests/sim/worlds.py", "tests/chaos/plan.py"):
        written(tmp_path, name, "1")
    committed(tmp_path, "streams/rules.py", "1")
    return tmp_path


def version(root: Path, kind: str = "") -> str:
    return code_version.__wrapped__(kind, root)


def test_documents_make_no_version_dirty_and_code_does(clone: Path) -> None:
    clean = version(clone)
    written(clone, "docs/benchmarks.json", "2")
    assert version(clone) == clean
    assert len(clean) >= 7
    assert "dirty" not in clean
    written(clone, "streams/rules.py", "2")
    dirty = version(clone)
    assert dirty.startswith(f"{clean}-dirty-")
    assert until_now(clean, root=clone) == f"{clean}..{dirty}"
    written(clone, "streams/rules.py", "3")
    assert version(clone) not in (clean, dirty), "another change is another version"
    written(clone, "streams/rules.py", "1")
    assert until_now(clean, root=clone) == clean
    written(clone, "streams/new.py", "1")
    assert version(clone).startswith(f"{clean}-dirty-"), "code that git does not know of is run all the same"


def test_a_commit_of_documents_is_no_other_version_and_one_of_code_is(clone: Path) -> None:
    before = version(clone)
    for name in ("docs/benchmarks.json", "README.md"):
        committed(clone, name, "2")
    assert version(clone) == before
    committed(clone, "streams/rules.py", "2")
    assert version(clone) != before


def test_what_a_kind_of_run_does_not_use_makes_it_no_other_version(clone: Path) -> None:
    kinds = ("simulation", "oracle", "chaos", "")
    before = {kind: version(clone, kind) for kind in kinds}

    def others() -> set[str]:
        return {kind for kind in kinds if version(clone, kind) != before[kind]}

    committed(clone, "tests/bench/load.py", "2")
    assert others() == {""}
    written(clone, "tests/chaos/plan.py", "2")
    assert others() == {"", "chaos"}
    committed(clone, "tests/chaos/plan.py", "3")
    before = {kind: version(clone, kind) for kind in kinds}
    committed(clone, "tests/sim/plan.py", "2")
    assert others() == {"", "simulation", "oracle"}
    committed(clone, "tests/sim/worlds.py", "2")
    assert others() == set(kinds)


WRITES_REPORTS = {"tests/__init__.py", "tests/bench/__init__.py", "tests/bench/figures.py", "tests/reliability.py", "tests/version.py"}


def used(module: str, found: set[str]) -> set[str]:
    """Files of ours that a module brings in, however far away."""
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    name = str(file.relative_to(ROOT))
    if not file.exists() or name in found:
        return found
    found.add(name)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] in ("tests", "agents", "streams", "topics", "deploy"):
            for one in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                used(one, found)
    return found


@pytest.mark.parametrize("kind", sorted(TESTS))
def test_the_version_of_a_kind_of_run_is_of_everything_that_it_uses(kind: str) -> None:
    command = {"simulation": "tests.sim.__main__", "oracle": "tests.sim.oracle.__main__", "chaos": "tests.chaos.__main__"}[kind]
    within = (*RUN, *TESTS[kind])
    left_out = {name for name in used(command, set()) if not any(name == path or name.startswith(f"{path}/") for path in within)}
    assert left_out <= WRITES_REPORTS
    assert {name for path in TESTS[kind] for name in [path] if not (ROOT / name).exists()} == set()


def test_outside_a_clone_nobody_knows(tmp_path: Path) -> None:
    assert version(tmp_path) == "unknown"
