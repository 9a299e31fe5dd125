"""Which code ran, for every report that is committed."""
from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = ("agents", "deploy", "pyproject.toml", "requirements.lock", "streams", "topics")
"""What every run is of, besides tests. Documents are not: changed or not, and committed or not, they make it no other code."""
TESTS = {"simulation": ("tests/sim",), "oracle": ("tests/sim",),
         "chaos": ("tests/agents/runner_toy.py", "tests/chaos", "tests/sim/lastly.py", "tests/sim/system.py", "tests/sim/worlds.py")}
"""Tests that belong to a kind of run that takes hours: what others do differently is no reason to begin anew. Of everything else all tests belong to it."""


@cache
def code_version(kind: str = "", root: Path = ROOT) -> str:
    """Of what a kind of run is made of, the last commit that changed any, as git names it when it is first asked; with `-dirty-` and a digest of what differs
    or what git does not know of; `unknown` outside a clone."""
    made_of = (*RUN, *TESTS.get(kind, ("tests",)))
    try:
        last = _git(root, "rev-list", "-1", "HEAD", "--", *made_of)
        said = _git(root, "describe", "--tags", "--always", last or "HEAD")
        changed = _git(root, "diff", "HEAD", "--", *made_of)
        fresh = _git(root, "ls-files", "--others", "--exclude-standard", "--", *made_of).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    if not (changed or fresh):
        return said
    digest = hashlib.blake2b(changed.encode(), digest_size=4)
    for name in fresh:
        digest.update(name.encode() + b"\0" + (root / name).read_bytes())
    return f"{said}-dirty-{digest.hexdigest()}"


def until_now(begun: str, kind: str = "", root: Path = ROOT) -> str:
    """The version of a run that began with this one: the same, or both when the code has changed meanwhile. What began later may have run with the other."""
    now = code_version.__wrapped__(kind, root)
    return begun if now == begun else f"{begun}..{now}"


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
