"""Generated parts of script and runbook."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cutover import cli

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("ops/cutover.yml", "ops/runbook.md", "scripts/deltacrown-s3-rollback"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_check_says_no_after_the_table_changed_and_generate_mends_it(checkout: Path) -> None:
    """A machine script that turns off other flags than the table says is the worst kind of surprise."""
    command = ["generate", "--root", str(checkout)]
    assert cli.main([*command, "--check"]) == 0
    table = checkout / "ops/cutover.yml"
    table.write_text(
        table.read_text().replace("sets: {read_primary: false}", "sets: {read_primary: false, backfill: false}")
    )
    assert cli.main([*command, "--check"]) == 1
    assert cli.main(command) == 0
    assert "reads) echo -,false,false ;;" in (checkout / "scripts/deltacrown-s3-rollback").read_text()
    assert cli.main([*command, "--check"]) == 0


def test_lost_markers_are_named(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its markers a part would silently never be written again."""
    script = checkout / "scripts/deltacrown-s3-rollback"
    script.write_text(script.read_text().replace("# --- end of the table ---", ""))
    assert cli.main(["generate", "--root", str(checkout), "--check"]) == 2
    assert "deltacrown-s3-rollback" in capsys.readouterr().err
