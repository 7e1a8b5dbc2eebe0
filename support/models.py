"""Models that read like the shipped one and have another hash."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

from daemon.assets import SHIPPED_MODEL
from daemon.models.folder import ModelsFolder
from daemon.models.report import Report
from daemon.reading.model import SETTINGS_MEMBER

if TYPE_CHECKING:
    from pathlib import Path

MADE = "2026-11-29T10:00:00.000Z"


def copy_shipped(file: Path, **settings: Any) -> None:  # noqa: ANN401 - any setting
    """Write a copy of the shipped model with other settings."""
    with zipfile.ZipFile(SHIPPED_MODEL) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == SETTINGS_MEMBER:
                data = json.dumps(json.loads(data) | settings).encode()
            new.writestr(name, data)


def add_model(folder: ModelsFolder, name: str, report: Report | None = None) -> str:
    """Add a model to ``models/``; models with different names differ. Return its id."""
    file = folder.path.parent / f"{name}.keras"
    copy_shipped(file, training={"name": name})
    try:
        return folder.add(file, report or Report(MADE, by="learn"))
    finally:
        file.unlink()
