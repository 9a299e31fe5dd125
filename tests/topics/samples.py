"""The real messages beside the project: absent outside its workshop, required in CI."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def required(*folders: str) -> None:
    """Skips when these folders of the sample data are not there; under CI that is a failure."""
    missing = [f for f in folders if not (DATA / f).is_dir()]
    if missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the sample messages are missing: {', '.join(missing)}")
        pytest.skip(f"no sample messages beside the project: {', '.join(missing)}")


def samples(folder: str, pattern: str) -> list[Path]:
    """Files of a folder of the sample data. Skips when there is none; under CI that is a failure."""
    required(folder)
    return sorted((DATA / folder).glob(pattern))
