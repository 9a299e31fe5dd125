"""The version that reports carry."""
from __future__ import annotations

import subprocess
from pathlib import Path

from tests.version import code_version


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
    assert code_version.__wrapped__(tmp_path) == f"{clean}-dirty"


def test_outside_a_clone_nobody_knows(tmp_path: Path) -> None:
    assert code_version.__wrapped__(tmp_path) == "unknown"
