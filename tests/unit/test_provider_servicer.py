"""The rehearsal provider's answers to Pulumi's engine that need no AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.stub import Stubber
from pulumi.runtime import proto

from rehearsal.aws_stand_in import AwsStandIn
from rehearsal.provider.properties import ProviderError
from rehearsal.provider.resource import Clients
from rehearsal.provider.s3_bucket_settings import BucketVersioning
from rehearsal.provider.servicer import AwsServicer
from rehearsal.provider.wire import UNKNOWN, from_struct, to_struct

if TYPE_CHECKING:
    import grpc

BUCKET_URN = "urn:pulumi:staging::deltacrown-cutover::deltacrown:storage:CertificateStore$aws:s3/bucket:Bucket::b"
POLICY_URN = "urn:pulumi:staging::deltacrown-cutover::aws:iam/rolePolicy:RolePolicy::p"
PROFILE_URN = "urn:pulumi:staging::deltacrown-cutover::aws:iam/instanceProfile:InstanceProfile::p"


class Aborted(Exception):  # noqa: N818 (what happened to the call)
    pass


class Context:
    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)


CONTEXT = cast("grpc.ServicerContext", Context())


@pytest.fixture
def servicer() -> AwsServicer:
    return AwsServicer(Clients(s3=cast("Any", None), iam=cast("Any", None), region="us-east-1"))


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"region": "us-east-1", "version": "7.51.1"}, []),
        ({"region": "eu-west-1"}, ["region"]),
        ({"assumeRoles": "x"}, ["assumeRoles"]),
    ],
)
def test_provider_settings_are_obeyed_or_refused(
    servicer: AwsServicer, settings: dict[str, str], refused: list[str]
) -> None:
    """A setting that changes everything on AWS is ignored in the rehearsal."""
    answer = servicer.CheckConfig(proto.CheckRequest(news=to_struct(settings)), CONTEXT)
    assert [failure.property for failure in answer.failures] == refused


def test_a_malformed_policy_is_a_check_failure(servicer: AwsServicer) -> None:
    """A comma too much in a policy ends the preview with a traceback that names nothing."""
    inputs = {"name": "p", "role": "r", "policy": "{,}"}
    answer = servicer.Check(proto.CheckRequest(urn=POLICY_URN, news=to_struct(inputs)), CONTEXT)
    assert [failure.property for failure in answer.failures] == ["policy"]


def test_a_preview_says_what_is_not_yet_known(servicer: AwsServicer) -> None:
    """A preview creates the bucket, or shows an ARN that will be another."""
    answer = servicer.Create(
        proto.CreateRequest(urn=BUCKET_URN, preview=True, properties=to_struct({"bucket": "b"})), CONTEXT
    )
    outputs = from_struct(answer.properties)
    assert (outputs["bucket"], outputs["arn"]) == ("b", UNKNOWN)


@pytest.mark.parametrize(
    ("change", "replaces", "first_deleted"),
    [
        ({"role": "other"}, [], True),
        ({"name": "other"}, ["name"], False),
        ({"path": "/other/"}, ["path"], True),  # same name: the old one must go first
    ],
)
def test_what_aws_cannot_change_is_replaced(
    servicer: AwsServicer, change: dict[str, str], replaces: list[str], first_deleted: bool
) -> None:
    """The rehearsal changes a name in place; on AWS the resource is deleted and made anew."""
    state = {"name": "p", "path": "/", "role": "r", "tags": {}, "arn": "x"}
    answer = servicer.Diff(
        proto.DiffRequest(urn=PROFILE_URN, id="p", olds=to_struct(state), news=to_struct({**state, **change})),
        CONTEXT,
    )
    assert list(answer.diffs) == list(change)
    assert list(answer.replaces) == replaces
    assert answer.deleteBeforeReplace == first_deleted


def test_versioning_that_needs_a_second_factor_is_named() -> None:
    """MFADelete is set by hand, no version can be deleted any more, and Pulumi reports that all is well."""
    s3 = AwsStandIn("https://127.0.0.1:1", "key", "secret", pid=0).s3()
    versioning = BucketVersioning(Clients(s3=s3, iam=cast("Any", None), region="us-east-1"))
    with Stubber(s3) as answers:
        answers.add_response("get_bucket_versioning", {"Status": "Enabled"})
        assert versioning.read("b") == {"bucket": "b", "versioningConfiguration": {"status": "Enabled"}}
        answers.add_response("get_bucket_versioning", {"Status": "Enabled", "MFADelete": "Enabled"})
        with pytest.raises(ProviderError, match=r"AWS holds VersioningConfiguration\.MFADelete"):
            versioning.read("b")
        answers.add_response("get_bucket_versioning", {})
        assert versioning.read("b") is None


def test_functions_and_malformed_ids_are_refused_by_name(servicer: AwsServicer) -> None:
    """A look-up returns nothing, and the program goes on with it."""
    with pytest.raises(Aborted, match="aws:index/getCallerIdentity"):
        servicer.Invoke(proto.InvokeRequest(tok="aws:index/getCallerIdentity:getCallerIdentity"), CONTEXT)
    with pytest.raises(Aborted, match="write role:name"):
        servicer.Read(proto.ReadRequest(urn=POLICY_URN, id="S3CertificateAccess"), CONTEXT)
