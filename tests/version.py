"""Which code ran, for every report that is committed."""
from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORTS = "docs"
"""What a run writes itself, and other documents: changed or not, they make it no other code."""


@cache
def code_version(root: Path = ROOT) -> str:
    """As git names it when it is first asked, `-dirty` when any file but documents differs from that; `unknown` outside a clone."""
    try:
        said = _git(root, "describe", "--tags", "--always")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){REPORTS}")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{said}-dirty" if changed else said


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
