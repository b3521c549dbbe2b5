"""Generated parts of script and runbook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cutover import cli, plan
from cutover.alarms.insights.command import saved_query

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = plan.load()


def sections() -> dict[str, str]:
    """The runbook's sections by their headings."""
    text = (REPOSITORY / "ops/runbook.md").read_text()
    return dict(re.findall(r"^#{2,3} (.+)\n((?:(?!#{2,3} ).*\n?)*)", text, re.MULTILINE))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("ops/cutover.yml", "ops/runbook.md", "ops/scenarios/README.md", "scripts/deltacrown-s3-rollback"):
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


@pytest.mark.parametrize("name", TABLE.alarms)
def test_an_alarms_section_can_be_followed_without_thinking(name: str) -> None:
    """Who is paged at night pastes: a gap to fill in, or production's command on staging's page, is an accident."""
    section = sections()[f"Alarm: {name}"]
    assert "…" not in section
    assert "[who is called](#who-is-called)" in section
    (query,) = re.findall(r"^  cutover alarms query (\S+) EVENTS$", section, re.MULTILINE)
    assert saved_query(query).is_file()
    for deployment in TABLE.deployments:
        assert f"`{TABLE.next_command(name, deployment)}`" in section
        assert f"{TABLE.telemetry.log_group}/{deployment}`" in section


def test_a_confirmation_reaches_as_far_back_as_its_alarm() -> None:
    """An hour of events cannot show that no check ran for a day."""
    assert f"-{26 * 3600} seconds" in sections()["Alarm: no-consistency-check"]
    assert "-3600 seconds" in sections()["Alarm: read-fallback-spike"]


def test_links_of_the_runbook_lead_somewhere() -> None:
    """Each alarm links to its incident's impact: an incident without a section would be a dead end."""
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in sections()}
    linked = set(re.findall(r"\]\(#([^)]+)\)", (REPOSITORY / "ops/runbook.md").read_text()))
    assert linked >= {f"incident-{name}" for name in TABLE.incidents}
    assert linked <= anchors


def test_who_is_called_is_the_table(checkout: Path) -> None:
    """An address that changed in the table alone would be mailed, and the wrong one called."""
    table = checkout / "ops/cutover.yml"
    table.write_text(table.read_text().replace("backend-lead@example.com", "lead@example.com"))
    assert cli.main(["generate", "--root", str(checkout)]) == 0
    assert "| Backend lead | lead@example.com | warning |" in (checkout / "ops/runbook.md").read_text()
