"""Images are built once for each recipe, and a half-built one is never used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.lab import LabError, commands, image, overlay, topology

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return topology.cache_directory()


def built(text: str) -> Callable[[Path], None]:
    def build(target: Path) -> None:
        (target / "file").write_text(text)

    return build


def test_a_changed_recipe_has_another_key() -> None:
    """An old image would be used for a new list of packages."""
    assert image.recipe_key("a", "b") == image.recipe_key("a", "b")
    assert image.recipe_key("a", "b") != image.recipe_key("b", "a")
    assert image.recipe_key("ab") != image.recipe_key("a", "b")


def test_an_interrupted_build_leaves_nothing_that_is_used(cache: Path) -> None:
    """A Ctrl-C during the first build would leave machines without half of their packages."""

    def interrupted(target: Path) -> None:
        (target / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image._cached("machine-x", "k1", interrupted, print)
    layer = image._cached("machine-x", "k1", built("whole"), print)
    assert [path.name for path in layer.iterdir()] == ["file"]
    assert [path.name for path in cache.iterdir()] == ["machine-x-k1"]


def test_an_image_is_reused_and_an_outdated_one_is_removed(cache: Path) -> None:
    """Images of 500 MB each would fill the disk; a rebuild costs a minute."""
    first = image._cached("machine-x", "k1", built("first"), print)
    again = image._cached("machine-x", "k1", built("other"), print)
    assert (again / "file").read_text() == "first"
    second = image._cached("machine-x", "k2", built("second"), print)
    assert not first.exists()
    assert list(cache.iterdir()) == [second]


def test_the_hosts_mirror_is_used_for_this_suite_only() -> None:
    """A mirror of another suite, or a local disc, has none of the packages."""
    targets = (
        "file:/cdrom bookworm main\n"
        "http://mirror.example/security/ bookworm-security main\n"
        "http://mirror.example/debian/ bookworm contrib\n"
        "http://mirror.example/debian/ bookworm main\n"
    )
    assert image.mirror(targets) == "http://mirror.example/debian/"
    assert image.mirror("http://mirror.example/ubuntu/ noble main\n") is None


def test_mounts_below_a_folder_come_deepest_first() -> None:
    """A mount that holds another cannot be unmounted before it, and a namesake is not below."""
    mounts = (
        "overlay /lab/m/root overlay rw 0 0\nproc /lab/m/root/proc proc rw 0 0\nx /lab2 x rw 0 0\nx /lab x rw 0 0\n"
    )
    assert overlay.mounts_under(Path("/lab"), mounts) == [Path("/lab/m/root/proc"), Path("/lab/m/root")]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["sh", "-c", "echo first >&2; echo 'no room' >&2; exit 3"], r"failed with exit code 3: no room"),
        (["no-such-program"], "not installed: run `make setup`"),
        (["sleep", "5"], r"did not end within 0.2 s"),
    ],
)
def test_a_failed_program_is_one_sentence(argv: list[str], said: str) -> None:
    """A traceback tells an operator nothing about what to do."""
    with pytest.raises(LabError, match=said):
        commands.run(argv, seconds=0.2)
