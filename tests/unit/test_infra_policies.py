"""The policy documents, word for word: a widened policy must be a visible change of a test."""

from __future__ import annotations

from infra.access import certificate_access_policy, trust_policy
from infra.certificate_store import tls_only_policy


def test_the_role_has_the_four_actions_and_no_more() -> None:
    """A worker that is taken over can delete backups or old versions."""
    assert certificate_access_policy("b")["Statement"] == [
        {
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": ["arn:aws:s3:::b/certificates/*", "arn:aws:s3:::b/cutover-probe/*"],
        },
        {"Sid": "Listing", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"},
    ]


def test_only_ec2_and_named_principals_are_trusted() -> None:
    """Another account's principal assumes the role."""
    assert trust_policy([])["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    arn = "arn:aws:iam::123456789012:role/operator"
    assert trust_policy([arn])["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com", "AWS": [arn]}


def test_plain_http_is_denied_to_everyone_for_bucket_and_objects() -> None:
    """Certificates and signatures travel in clear text."""
    (statement,) = tls_only_policy("b")["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
