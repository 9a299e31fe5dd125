"""House rules that no other tool checks: `python -m tests.house` (part of `make check`)."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 450
WAIT_FOR = "asyncio.wait_for("
"""Until Python 3.12 it forgets that its task was cancelled when what it waits for is done in the same moment: the task runs on for ever."""
HOSTS = re.compile(r"https?://", re.IGNORECASE)
REGISTRIES = re.compile(
    "|".join((r"pypi\.org", r"pythonhosted", r"registry\.npmjs", r"repo1?\.maven", r"crates\.io", r"proxy\.golang", r"deb\.debian")), re.IGNORECASE)
MACHINE_PATHS = re.compile(r"(^|[^.\w-])/(work|farm|root|home)/")
STRUCTURE = ("topics", "streams", "agents", "deploy", "tests", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "docs/decisions.md")


def tracked() -> list[Path]:
    """Files that are in the tree: tracked, or new and not ignored."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).is_file()]


def faults() -> list[str]:
    """Every breach of a house rule, one line each."""
    found = [f"{name}: missing" for name in STRUCTURE if not (ROOT / name).exists()]
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path == Path(__file__).resolve():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if "lock" in path.name.lower() or path.name.startswith("requirements"):
            found += [f"{name}: a lock file names a host" for _ in HOSTS.findall(text)[:1]]
        found += [f"{name}: names a package registry's host" for _ in REGISTRIES.findall(text)[:1]]
        found += [f"{name}: names a path of one machine" for _ in MACHINE_PATHS.findall(text)[:1]]
        if name.startswith("agents/") and WAIT_FOR in text:
            found.append(f"{name}: {WAIT_FOR}...) may lose a cancellation; write asyncio.timeout")
        if path.suffix == ".py" and text.count("\n") > LINES_MAX:
            found.append(f"{name}: {text.count(chr(10))} lines, more than {LINES_MAX}")
    return found


def main() -> int:
    found = faults()
    for line in found:
        print(line)
    print(f"house rules: {len(found)} faults" if found else "house rules: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
