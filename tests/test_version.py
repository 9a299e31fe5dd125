"""The version that reports carry."""
from __future__ import annotations

import subprocess
from pathlib import Path

from tests.version import code_version, until_now


def test_documents_make_no_version_dirty_and_code_does(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *words], cwd=tmp_path, check=True, capture_output=True)

    for name in ("docs/benchmarks.json", "docs/reliability.json", "streams/rules.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = code_version.__wrapped__(tmp_path)
    for name in ("docs/benchmarks.json", "docs/reliability.json"):
        (tmp_path / name).write_text("2")
    assert code_version.__wrapped__(tmp_path) == clean
    assert len(clean) >= 7
    assert "dirty" not in clean
    (tmp_path / "streams/rules.py").write_text("2")
    dirty = code_version.__wrapped__(tmp_path)
    assert dirty.startswith(f"{clean}-dirty-")
    assert until_now(clean, tmp_path) == f"{clean}..{dirty}"
    (tmp_path / "streams/rules.py").write_text("3")
    assert code_version.__wrapped__(tmp_path) not in (clean, dirty), "another change is another version"
    (tmp_path / "streams/rules.py").write_text("1")
    assert until_now(clean, tmp_path) == clean
    (tmp_path / "streams/new.py").write_text("1")
    assert code_version.__wrapped__(tmp_path).startswith(f"{clean}-dirty-"), "code that git does not know of is run all the same"


def test_outside_a_clone_nobody_knows(tmp_path: Path) -> None:
    assert code_version.__wrapped__(tmp_path) == "unknown"
