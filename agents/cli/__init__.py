"""The command line `railclear`: one file per group of commands, all I/O through `common.py`."""
from __future__ import annotations

import sys
from collections.abc import Sequence

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 the answer is no, 2 cannot do this as asked, 70 a bug, 130 interrupted."""
    from agents.cli.root import run

    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))
