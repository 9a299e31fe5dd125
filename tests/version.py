"""Which code ran, for every report that is committed."""
from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORTS = "docs"
"""What a run writes itself, and other documents: changed or not, they make it no other code."""


CODE = ("agents", "streams", "tests", "topics")
"""Where a file that git does not know of may be run."""


@cache
def code_version(root: Path = ROOT) -> str:
    """As git names it when it is first asked; with `-dirty-` and a digest of what differs when any file but documents does, or there is code that git does
    not know of; `unknown` outside a clone."""
    try:
        said = _git(root, "describe", "--tags", "--always")
        changed = _git(root, "diff", "HEAD", "--", ".", f":(exclude){REPORTS}")
        fresh = _git(root, "ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    if not (changed or fresh):
        return said
    digest = hashlib.blake2b(changed.encode(), digest_size=4)
    for name in fresh:
        digest.update(name.encode() + b"\0" + (root / name).read_bytes())
    return f"{said}-dirty-{digest.hexdigest()}"


def until_now(begun: str, root: Path = ROOT) -> str:
    """The version of a run that began with this one: the same, or both when the code has changed meanwhile. What began later may have run with the other."""
    now = code_version.__wrapped__(root)
    return begun if now == begun else f"{begun}..{now}"


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
