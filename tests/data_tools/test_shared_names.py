"""One file that two rows name: at most one of them can be its certificate, and nobody can say which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover.catalogue import Catalogue, Selection
from tests.data_tools.backfill_runs import backfill, causes
from tests.data_tools.certificate_site import PDF

if TYPE_CHECKING:
    from tests.data_tools.certificate_site import Row, Site


def two_of_one(site: Site) -> tuple[Row, Row]:
    """Two rows that name one PNG, each with a PDF of its own."""
    first = site.add()
    return first, site.add(PDF, None, file_image=first.file_image)


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--repair",), ("--batch-size", "1")])
def test_neither_is_migrated_and_both_are_named(site: Site, how: tuple[str, ...]) -> None:
    """Marked, one of two customers gets the other one's certificate, and the check fails for ever after."""
    first, second = two_of_one(site)
    good = site.add()
    code, answer = backfill(site, *how)
    assert (code, answer["migrated"], answer["objects_uploaded"]) == (1, 1, 2)  # of the good one: no file counts twice
    assert answer["bytes"] == sum(len(site.path(key).read_bytes()) for key in good.keys)
    assert {error["certificate_id"]: (error["key"], error["cause"]) for error in answer["errors"]} == {
        row.id: (first.file_image, "conflict") for row in (first, second)
    }
    assert f"certificates {first.id} and {second.id} own it" in answer["errors"][0]["detail"]
    if "--dry-run" not in how:
        assert [row.id for row in site.rows() if row.marked] == [good.id]
        assert set(site.keys()) == set(good.keys)


def test_one_that_is_marked_counts_as_well(site: Site) -> None:
    """What the last run has marked is no reason to give its object to the next one."""
    first, second = two_of_one(site)
    site.execute("UPDATE {table} SET migrated_to_s3_at = now() WHERE id = %s", first.id)
    site.store_files(first)
    assert causes(backfill(site, "--certificate-id", str(second.id))[1]) == {first.file_image: "conflict"}


def test_once_one_is_accepted_the_other_one_is_migrated(site: Site) -> None:
    """There must be a way on where nobody can correct the row."""
    first, second = two_of_one(site)
    assert site.run("accept", "--certificate-id", str(second.id), "--reason", "its PNG is lost").returncode == 0
    code, answer = backfill(site)
    assert (code, answer["errors"]) == (0, [])
    assert [row.id for row in site.rows() if row.marked] == [first.id]
    assert site.run("check", "--sample", "100%").returncode == 0


def test_a_file_cannot_be_pdf_and_image_of_a_row(site: Site) -> None:
    """It is counted twice, and `cutover check` holds it against the row once it is marked."""
    row = site.add(image=None)
    site.execute("UPDATE {table} SET file_image = file_pdf WHERE id = %s", row.id)
    code, answer = backfill(site, "--dry-run")
    assert (code, set(causes(answer).values()), answer["bytes"]) == (1, {"conflict"}, 0)
    assert "it is its PDF and its image" in answer["errors"][0]["detail"]


def test_a_sweep_marks_neither(site: Site) -> None:
    """The sweep meets such rows every five minutes, and marks them while the backfill refuses."""
    first, second = two_of_one(site)
    site.store_files(first, second)
    done = site.run("sweep")
    assert done.returncode == 1
    assert done.stdout.count(f"{first.file_image}: conflict: ") == 2
    assert not any(row.marked for row in site.rows())


def test_only_the_names_of_the_selected_rows_are_looked_for(site: Site) -> None:
    """A sweep of ten rows that sorts the names of a million takes the database from the customers."""
    first, second = two_of_one(site)
    third = site.add()
    with Catalogue(site.settings, read_only=True) as catalogue:
        owners = {first.file_image: (first.id, second.id)}
        assert catalogue.shared_names() == owners
        assert catalogue.shared_names(Selection(start_id=second.id)) == owners
        assert catalogue.shared_names(Selection(start_id=third.id)) == {}
        assert catalogue.shared_names(accepted=[first.id]) == {}
