"""The settings of the data tools: what is refused before S3 or the table is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover import cli

if TYPE_CHECKING:
    from tests.data_tools.certificate_site import Site


@pytest.mark.parametrize(
    "value",
    ["https://127.0.0.1:29866 # note", "https://", "https://host:99999", "https://host/path", "https://u:p@host", "s3"],
)
def test_an_endpoint_that_is_no_plain_url_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """obstore ends the process over it with a Rust stack and 1, which is FAIL."""
    assert site.settings.endpoint_url == site.environment["AWS_ENDPOINT_URL_S3"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", value)
    code = cli.main(["check"])
    output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert errors.startswith(f"cutover: AWS_ENDPOINT_URL_S3 {value!r} of the environment is no plain URL")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("url", ["http://minio:9000", "https://[::1]:29866/", "https://s3.eu-west-1.amazonaws.com"])
def test_an_endpoint_is_scheme_host_and_port(site: Site, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A rule that is too strict stops a site that has worked so far."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    assert site.settings.endpoint_url == url


def test_a_role_that_cannot_be_assumed_is_named_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """`S3 denied the request` sends an operator to the bucket's policy, and the role's name was mistyped."""
    arn = site.roles.readonly + "-none"
    assert cli.main(["check", "--json", "--role-arn", arn]) == 4
    errors = capsys.readouterr().err
    (sentence,) = [line for line in errors.splitlines() if line.startswith("cutover: ")]
    assert sentence.startswith(f"cutover: {arn} cannot be assumed (sts:AssumeRole): AccessDenied")
    assert cli.main(["check", "--role-arn", "garbage"]) == 2
    sentence = "cutover: --role-arn 'garbage' is no ARN of a role: write arn:aws:iam::<account>:role/<name>\n"
    assert capsys.readouterr().err == sentence
