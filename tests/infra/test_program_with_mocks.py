"""What the program asks for, seen without any cloud."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pulumi
import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "infra"
SETTINGS = {
    "staging": {"certificateBucket": "certificates-s", "roleName": "access-s", "protect": "false"},
    "production": {
        "certificateBucket": "certificates-p",
        "roleName": "access-p",
        "protect": "true",
        "backupsBucket": "backups-p",
    },
}
BUCKET_SETTINGS = {
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
}
TAGGABLE = {"aws:s3/bucket:Bucket", "aws:iam/role:Role", "aws:iam/instanceProfile:InstanceProfile"}
pytestmark = [  # both are pulumi's own: old names that it still imports, and how its mocks test values
    pytest.mark.filterwarnings("ignore:.*has been deprecated in favor:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:NotImplemented should not be used:DeprecationWarning"),
]


class Recorder(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.resources: list[pulumi.runtime.MockResourceArgs] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.resources.append(args)
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> NoReturn:
        raise AssertionError(f"the program calls {args.token}")


def run_program(stack: str) -> list[pulumi.runtime.MockResourceArgs]:
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="deltacrown-cutover", stack=stack)
    pulumi.runtime.set_all_config({f"deltacrown-cutover:{key}": value for key, value in SETTINGS[stack].items()})

    run = pulumi.runtime.test(  # type: ignore[no-untyped-call]  # pulumi gives it no types
        lambda: runpy.run_path(str(PROGRAM), run_name="__main__")
    )
    run()
    return recorder.resources


@pytest.mark.parametrize(
    ("stack", "buckets"),
    [("staging", ["certificates-s"]), ("production", ["backups-p", "certificates-p"])],
)
def test_each_bucket_is_hardened_and_everything_is_tagged(stack: str, buckets: list[str]) -> None:
    """A second bucket is added later, and one of its five protections is forgotten."""
    resources = run_program(stack)
    by_type = {kind: [r.inputs for r in resources if r.typ == kind] for kind in Counter(r.typ for r in resources)}
    assert sorted(inputs["bucket"] for inputs in by_type["aws:s3/bucket:Bucket"]) == buckets
    for kind in BUCKET_SETTINGS:
        assert sorted(inputs["bucket"] for inputs in by_type[kind]) == buckets
    for kind in TAGGABLE:
        for inputs in by_type[kind]:
            assert inputs["tags"]["environment"] == stack


def test_no_resource_outside_the_components() -> None:
    """A resource without component is protected by no setting and found by nobody."""
    resources = run_program("production")
    assert {resource.typ for resource in resources if not resource.custom} == {
        "deltacrown:storage:CertificateStore",
        "deltacrown:access:CertificateAccess",
    }
