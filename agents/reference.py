"""Reads the reference files of the package and a deployment's overlay, and has them parsed."""
from __future__ import annotations

from importlib import resources
from pathlib import Path

from streams.reference.model import Reference
from streams.reference.parse import parse


def packaged() -> dict[str, bytes]:
    """The TOML files that railclear ships, by file name."""
    folder = resources.files("streams.reference")
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".toml")}


def overlay(directory: Path | None) -> dict[str, bytes]:
    """The TOML files of a deployment. Raises NotADirectoryError when the directory is named and is not there."""
    if directory is None:
        return {}
    if not directory.is_dir():
        raise NotADirectoryError(f"overlay of the reference: {directory} is no directory")
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.toml"))}


def load(overlay_dir: Path | None = None) -> Reference:
    """The reference that this deployment runs on. Raises ReferenceRefused (file, row, field, reason)."""
    return parse(packaged(), overlay(overlay_dir))
