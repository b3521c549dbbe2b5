"""Folders that several threads make at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from cutover import local_folders

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534


def test_a_folder_is_no_model_before_it_has_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files are restored at once, and one of them comes into a folder that the application may not enter."""
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    os.chown(tmp_path, NOBODY, NOBODY)
    adopt, second_is_through = local_folders.adopt, threading.Event()

    def late(descriptor: int, folder: int, bits: int) -> None:
        second_is_through.wait(0.2)  # which it must not be
        adopt(descriptor, folder, bits)

    def make(name: str) -> None:
        with local_folders.parent(tmp_path, name, create=True) as (folder, _):
            owners.append(os.fstat(folder).st_uid)
        second_is_through.set()

    owners: list[int] = []
    monkeypatch.setattr(local_folders, "adopt", late)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(make, ["certificates/first", "certificates/second"]))
    assert owners == [NOBODY, NOBODY]
