"""A chain to tell a story in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.evidence.documents import Story

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path / "evidence")
