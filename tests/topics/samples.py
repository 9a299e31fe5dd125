"""The real messages beside the project: absent outside its workshop, required in CI."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def samples(folder: str, pattern: str) -> list[Path]:
    """Files of a folder of the sample data. Skips when there is none; under CI that is a failure."""
    if not DATA.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("the sample messages are missing")
        pytest.skip("no sample messages beside the project")
    return sorted((DATA / folder).glob(pattern))
