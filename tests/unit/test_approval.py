"""The phrase that approves step 10."""

from __future__ import annotations

import pytest

from cutover.retirement import approval

GOOD = "put-aside-300-certificates-of-production"


def test_the_phrase_that_is_asked_for_approves() -> None:
    """The command that the step prints does not work."""
    assert approval.phrase("production", 300) == GOOD
    assert approval.problem(GOOD, "production", 300) == ""
    assert approval.approved(GOOD, "production") == 300
    assert f"-e approval={GOOD}" in approval.problem("", "production", 300)


def test_certificates_that_were_issued_since_stay() -> None:
    """On a live site no approval would ever fit; or more is put aside than somebody approved."""
    assert approval.problem(GOOD, "production", 312) == ""
    assert approval.approved(GOOD, "production") == 300


@pytest.mark.parametrize(
    "given",
    [
        "yes",
        "put-aside-301-certificates-of-production",
        "put-aside-0-certificates-of-production",
        "put-aside-0300-certificates-of-production",
        "put-aside--300-certificates-of-production",
        "put-aside-300-certificates-of-staging",
        f"{GOOD} ",
        "put-aside-٣٠٠-certificates-of-production",
    ],
)
def test_any_other_phrase_approves_nothing(given: str) -> None:
    """Somebody's command from last week, of the other deployment."""
    assert f"-e approval={GOOD}" in approval.problem(given, "production", 300)


def test_what_is_put_aside_already_needs_no_approval() -> None:
    """A step that was broken off at its very end could never be finished."""
    assert approval.problem("", "production", 0) == ""
