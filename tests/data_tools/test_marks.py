"""A row is marked if it still is what was verified; the database decides, in the statement that marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import pytest

from cutover.catalogue import Catalogue, Selection
from tests.data_tools.certificate_site import IMAGE, PDF

if TYPE_CHECKING:
    from tests.data_tools.certificate_site import Site


def test_rows_that_are_as_verified_are_marked(site: Site) -> None:
    """A row that is never marked is sent again by every run: with one file only, with blanks in its hash, and so on."""
    rows = [
        site.add(),
        site.add(image=None),
        site.add(pdf=None),
        site.add(PDF, None, file_image=""),
        site.add(certificate_hash="A" * 63 + " "),
        site.add(certificate_hash=""),
        site.add(revoked=True),
    ]
    with Catalogue(site.settings, read_only=False) as catalogue:
        (page,) = catalogue.pages(Selection(), len(rows))
        assert catalogue.mark(page) == {row.id for row in rows}
    assert all(row.marked for row in site.rows())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {table} SET file_pdf = 'certificates/pdf/other.pdf' WHERE id = %s",
        "UPDATE {table} SET file_pdf = NULL WHERE id = %s",
        "UPDATE {table} SET file_image = 'certificates/images/other.png' WHERE id = %s",
        "UPDATE {table} SET file_image = '' WHERE id = %s",
        "UPDATE {table} SET certificate_hash = repeat('0', 64) WHERE id = %s",
        "UPDATE {table} SET file_pdf = file_image, file_image = file_pdf WHERE id = %s",
    ],
)
def test_a_row_that_was_changed_since_is_not_marked(site: Site, change: LiteralString) -> None:
    """Marked, it would be read from S3 under a name that nobody has stored."""
    changed, other = site.add_many([(PDF, IMAGE)] * 2)
    with Catalogue(site.settings, read_only=False) as catalogue:
        (page,) = catalogue.pages(Selection(), 2)
        site.execute(change, changed.id)
        assert catalogue.mark(page) == {other.id}
    assert [row.id for row in site.rows() if row.marked] == [other.id]


def test_rows_that_exchanged_their_files_are_not_marked(site: Site) -> None:
    """All names of the batch are still there, each in a row for which it was not verified."""
    site.add_many([(PDF, IMAGE)] * 2)
    with Catalogue(site.settings, read_only=False) as catalogue:
        (page,) = catalogue.pages(Selection(), 2)
        site.execute(
            "UPDATE {table} SET file_pdf = other.file_pdf FROM {table} AS other WHERE other.id <> {table}.id AND "
            "{table}.id > %s",
            0,
        )
        assert catalogue.mark(page) == set()


def test_a_mark_that_is_there_keeps_its_time(site: Site) -> None:
    """The time says when the object was proven; `cutover check` judges an inventory by it."""
    row = site.add(marked=True)
    with Catalogue(site.settings, read_only=False) as catalogue:
        (page,) = catalogue.pages(Selection(pending=None), 1)
        assert catalogue.mark(page) == {row.id}
    assert site.row(row.id).migrated_to_s3_at == row.migrated_to_s3_at
