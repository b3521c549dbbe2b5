"""What the program asks for, seen without any cloud, and rules that every resource keeps."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pulumi
import pytest
import yaml
from pulumi.runtime import rpc

from cutover import plan

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = plan.load()
STACKS = ["staging", "production"]
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
PRINCIPALS = {  # the one role that each setting lets somebody into
    "operatorPrincipals": "deltacrown-cutover-readonly",
    "retirementPrincipals": "deltacrown-cutover-retirement",
    "evidencePrincipals": "deltacrown-cutover-evidence",
    "fencePrincipals": "deltacrown-cutover-fence",
}
OPERATORS = {"operatorPrincipals": ["arn:aws:iam::123456789012:role/operators"]}
ALL_OPERATORS = dict.fromkeys(PRINCIPALS, OPERATORS["operatorPrincipals"])
EVERYTHING = OPERATORS | {"chatEndpoint": "https://chat.example.com/told-to-nobody", "kmsKeyArn": KEY}
BUCKETS = {
    "staging": ["deltacrown-certificates-staging"],
    "production": ["deltacrown-backups", "deltacrown-certificates-prod"],
}
BUCKET_SETTINGS = {
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketMetric:BucketMetric",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
}
TAGGABLE = {
    "aws:budgets/budget:Budget",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm",
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "aws:iam/instanceProfile:InstanceProfile",
    "aws:iam/role:Role",
    "aws:s3/bucket:Bucket",
    "aws:sns/topic:Topic",
}
# AWS gives these no tags of their own.
UNTAGGABLE = BUCKET_SETTINGS | {
    "aws:cloudwatch/dashboard:Dashboard",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    "aws:cloudwatch/queryDefinition:QueryDefinition",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:s3/inventory:Inventory",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sns/topicSubscription:TopicSubscription",
}
# Where each type has its name in the account; types that are not listed are named within another resource.
NAMES = dict.fromkeys(TAGGABLE, "name") | {
    "aws:s3/bucket:Bucket": "bucket",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": "alarmName",
    "aws:cloudwatch/dashboard:Dashboard": "dashboardName",
    "aws:cloudwatch/queryDefinition:QueryDefinition": "name",
}
EVERY_RESOURCE = {"Alarms"}  # statements for which AWS takes no narrower resource than "*"
pytestmark = [  # both are pulumi's own: old names that it still imports, and how its mocks test values
    pytest.mark.filterwarnings("ignore:.*has been deprecated in favor:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:NotImplemented should not be used:DeprecationWarning"),
]


class Recorder(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.resources: list[pulumi.runtime.MockResourceArgs] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        args.inputs = {name: rpc.unwrap_rpc_secret(value) for name, value in args.inputs.items()}
        self.resources.append(args)
        arn = f"arn:aws:any:us-east-1:123456789012:{args.inputs.get('name', args.name)}"
        return f"{args.name}-id", {"arn": arn, **args.inputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> NoReturn:
        raise AssertionError(f"the program calls {args.token}")


def run_program(stack: str, settings: dict[str, Any] | None = None) -> list[pulumi.runtime.MockResourceArgs]:
    """Returns what the program registers under the repository's own settings, a pager and these ones."""
    own = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    given = {"pagerEndpoint": "https://pager.example.com/told-to-nobody"} | (settings or {})
    config = own | {f"deltacrown-cutover:{key}": value for key, value in given.items()}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="deltacrown-cutover", stack=stack)
    secrets = [f"deltacrown-cutover:{key}" for key in ("pagerEndpoint", "chatEndpoint")]
    pulumi.runtime.set_all_config(texts, secrets)
    run = pulumi.runtime.test(  # type: ignore[no-untyped-call]  # pulumi gives it no types
        lambda: runpy.run_path(str(REPOSITORY / "infra"), run_name="__main__")
    )
    run()
    return recorder.resources


@pytest.fixture(scope="module", params=STACKS)
def everything(request: pytest.FixtureRequest) -> list[pulumi.runtime.MockResourceArgs]:
    """A stack with every optional setting."""
    stack: str = request.param
    return run_program(stack, EVERYTHING | (ALL_OPERATORS | {"inventory": True} if stack == "production" else {}))


def inputs_of(resources: list[pulumi.runtime.MockResourceArgs], kind: str) -> list[dict[str, Any]]:
    return [dict(resource.inputs) for resource in resources if resource.typ == kind]


@pytest.mark.parametrize("stack", STACKS)
def test_each_bucket_is_hardened_and_everything_is_tagged(stack: str) -> None:
    """A second bucket is added later, and one of its protections is forgotten."""
    resources = run_program(stack)
    by_type = {kind: inputs_of(resources, kind) for kind in Counter(resource.typ for resource in resources)}
    assert sorted(inputs["bucket"] for inputs in by_type["aws:s3/bucket:Bucket"]) == BUCKETS[stack]
    for kind in BUCKET_SETTINGS:
        assert sorted(inputs["bucket"] for inputs in by_type[kind]) == BUCKETS[stack]
    for kind in TAGGABLE:
        assert by_type[kind]
        for inputs in by_type[kind]:
            tags = {"project": "deltacrown-cutover", "environment": stack, "managed-by": "pulumi"}
            assert inputs["tags"] == tags


def test_no_resource_outside_the_components() -> None:
    """A resource without component is protected by no setting and found by nobody."""
    resources = run_program("production", OPERATORS)
    assert {resource.typ for resource in resources if not resource.custom} == {
        "deltacrown:storage:CertificateStore",
        "deltacrown:access:CertificateAccess",
        "deltacrown:access:OperatorAccess",
        "deltacrown:monitoring:Telemetry",
        "deltacrown:monitoring:OnCall",
        "deltacrown:monitoring:Alarms",
        "deltacrown:monitoring:Dashboard",
        "deltacrown:monitoring:StorageBudget",
    }


def test_the_rules_of_this_file_know_every_type(everything: list[pulumi.runtime.MockResourceArgs]) -> None:
    """A new type of resource has tags, a name or a policy, and each rule silently passes it by."""
    assert {each.typ for each in everything if each.custom} - TAGGABLE <= UNTAGGABLE
    assert {each.typ for each in everything} >= TAGGABLE


def test_names_begin_with_the_projects(everything: list[pulumi.runtime.MockResourceArgs]) -> None:
    """Two projects of one account have a resource of the same name, and one overwrites the other's."""
    named = [(each.typ, each.inputs[NAMES[each.typ]]) for each in everything if each.typ in NAMES]
    assert len(named) > len(NAMES)
    assert [name for name in named if not name[1].removeprefix("/").startswith(("deltacrown-", "deltacrown/"))] == []


def test_log_lines_are_kept_for_the_tables_time(everything: list[pulumi.runtime.MockResourceArgs]) -> None:
    """Log lines with customers' certificate ids are kept, and paid for, for ever."""
    groups = inputs_of(everything, "aws:cloudwatch/logGroup:LogGroup")
    assert [group["retentionInDays"] for group in groups] == [TABLE.telemetry.retention_days]


def faults(policy: str) -> Iterator[str]:
    """What no policy of this project may say."""
    for statement in json.loads(policy)["Statement"]:
        sid = statement.get("Sid", "")
        if inverted := [key for key in statement if key.startswith("Not")]:
            yield f"{sid}: everything but {', '.join(inverted)}"
            continue
        actions, resources = (
            [value] if isinstance(value, str) else value
            for value in (statement["Action"], statement.get("Resource", []))
        )
        if statement["Effect"] == "Deny":
            continue
        if "*" in json.dumps(statement.get("Principal", "")):
            yield f"{sid}: anyone may"
        if any("*" in action for action in actions):
            yield f"{sid}: actions that nobody listed"
        if any(action.startswith("s3:Delete") and action != "s3:DeleteObject" for action in actions):
            yield f"{sid}: deletes more than a current object"
        if "*" in resources and sid not in EVERY_RESOURCE:
            yield f"{sid}: on everything"


def test_no_policy_says_more_than_it_lists(everything: list[pulumi.runtime.MockResourceArgs]) -> None:
    """A star that was convenient once lets a worker delete old versions, or the world publish on our topics."""
    policies = [
        (resource.name, resource.inputs[key])
        for resource in everything
        for key in ("policy", "assumeRolePolicy")
        if key in resource.inputs
    ]
    assert len(policies) > 8
    assert [(name, list(faults(policy))) for name, policy in policies if list(faults(policy))] == []


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ({"Principal": "*", "Action": "sts:AssumeRole"}, "anyone may"),
        ({"Principal": {"AWS": ["*"]}, "Action": "sns:Publish", "Resource": "arn"}, "anyone may"),
        ({"Action": ["s3:Get*"], "Resource": "arn"}, "actions that nobody listed"),
        ({"Action": "s3:DeleteObjectVersion", "Resource": "arn"}, "deletes more than a current object"),
        ({"Action": "s3:ListBucket", "Resource": ["*"]}, "on everything"),
        ({"Action": "s3:ListBucket", "NotResource": "arn"}, "everything but NotResource"),
    ],
)
def test_the_rules_for_policies_refuse(statement: dict[str, Any], fault: str) -> None:
    """The invariant is green because it looks at nothing."""
    (found,) = faults(json.dumps({"Statement": [{"Effect": "Allow", "Sid": "Some", **statement}]}))
    assert found == f"Some: {fault}"


def test_a_key_encrypts_every_bucket_and_every_role_may_use_it() -> None:
    """Certificates are under a KMS key, and workers, checks or the retirement get 403 for each of them."""
    resources = run_program("production", ALL_OPERATORS | {"kmsKeyArn": KEY})
    kind = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    encryption = [inputs["rules"] for inputs in inputs_of(resources, kind)]
    by_key = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}
    assert encryption == [[{"applyServerSideEncryptionByDefault": by_key, "bucketKeyEnabled": True}]] * 2
    uses = [each for each in inputs_of(resources, "aws:iam/rolePolicy:RolePolicy") if each["name"] == "CertificateKey"]
    writers = {each["role"]: "kms:GenerateDataKey" in each["policy"] for each in uses}
    assert writers == {
        "deltacrown-s3-access": True,
        "deltacrown-cutover-readonly": False,
        "deltacrown-cutover-retirement": True,
        "deltacrown-cutover-evidence": True,
    }


def test_lists_are_made_only_if_asked_for() -> None:
    """S3 writes lists that nobody reads, or none into the bucket where the check looks for them."""
    assert inputs_of(run_program("production"), "aws:s3/inventory:Inventory") == []
    resources = run_program("production", {"inventory": True})
    (inventory,) = inputs_of(resources, "aws:s3/inventory:Inventory")
    assert (inventory["bucket"], inventory["schedule"]) == ("deltacrown-certificates-prod", {"frequency": "Daily"})
    assert {"Size", "ETag", "LastModifiedDate", "StorageClass", "ChecksumAlgorithm"} <= {*inventory["optionalFields"]}
    assert (inventory["includedObjectVersions"], inventory["filter"]) == ("Current", {"prefix": "certificates/"})
    destination = inventory["destination"]["bucket"]
    assert (destination["accountId"], destination["prefix"]) == ("123456789012", "inventory")
    assert statements(resources)["deltacrown-backups"] == ["DenyPlainHttp", "TakeInventory", "KeepRecords"]


def statements(resources: list[pulumi.runtime.MockResourceArgs]) -> dict[str, list[str]]:
    """What each bucket's policy says, by the names of its statements."""
    policies = inputs_of(resources, "aws:s3/bucketPolicy:BucketPolicy")
    return {each["bucket"]: [said["Sid"] for said in json.loads(each["policy"])["Statement"]] for each in policies}


def test_the_bucket_of_the_evidence_keeps_its_records() -> None:
    """Whoever may store a record may store another one over it; certificates are replaced by right."""
    assert statements(run_program("production")) == {
        "deltacrown-backups": ["DenyPlainHttp", "KeepRecords"],
        "deltacrown-certificates-prod": ["DenyPlainHttp"],
    }


@pytest.mark.parametrize("stack", STACKS)
def test_operators_have_roles_only_if_someone_is_trusted(stack: str) -> None:
    """A role is made for nobody, or the rehearsal of a stack without operators registers a part that holds nothing."""
    resources = run_program(stack)
    assert len(inputs_of(resources, "aws:iam/role:Role")) == 1
    assert "deltacrown:access:OperatorAccess" not in {resource.typ for resource in resources}


@pytest.mark.parametrize("setting", PRINCIPALS)
def test_each_setting_lets_into_one_role(setting: str) -> None:
    """A data host that copies evidence, and whose workers share its role, could read everything, or archive."""
    machines = "arn:aws:iam::123456789012:role/machines"
    roles = inputs_of(run_program("production", ALL_OPERATORS | {setting: [machines]}), "aws:iam/role:Role")
    assert [role["name"] for role in roles if machines in role["assumeRolePolicy"]] == [PRINCIPALS[setting]]
    alone = inputs_of(run_program("production", {setting: [machines]}), "aws:iam/role:Role")
    assert {role["name"] for role in alone} == {"deltacrown-s3-access", PRINCIPALS[setting]}


def told(resource: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The topics, without the stem of their names, that hear of ALARM and of OK."""
    alarm, ok = (
        [arn.rpartition("-")[2] for arn in resource.get(actions) or []] for actions in ("alarmActions", "okActions")
    )
    return alarm, ok


def test_incidents_tell_and_alarms_do_not() -> None:
    """One outage pages four times, a page never resolves, or nobody hears at all."""
    resources = run_program("production")
    incidents = {
        resource.name: told(dict(resource.inputs))
        for resource in resources
        if resource.typ == "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    }
    assert incidents == {
        "s3": (["critical"], ["critical"]),
        "consistency": (["critical"], ["critical"]),
        "telemetry": (["critical"], ["critical"]),
        "degraded": (["warning"], ["warning"]),
    }
    alarms = {
        resource.name: told(dict(resource.inputs))
        for resource in resources
        if resource.typ == "aws:cloudwatch/metricAlarm:MetricAlarm"
    }
    assert alarms.keys() == {*TABLE.alarms, "silence"}
    assert {name: topics for name, topics in alarms.items() if topics != ([], [])} == {
        "rollback-uploads": (["warning"], []),
        "rollback-reads": (["warning"], []),
        "rollback-inconsistency": (["warning"], []),
    }


def test_everyone_of_the_table_is_subscribed() -> None:
    """The backend lead is on the escalation list, and never gets a mail."""
    resources = run_program("production", {"chatEndpoint": "https://chat.example.com/told-to-nobody"})
    subscriptions = inputs_of(resources, "aws:sns/topicSubscription:TopicSubscription")
    subscribed = {(each["topic"].rpartition("-")[2], each["protocol"], each["endpoint"]) for each in subscriptions}
    # AWS holds a subscription that nobody confirms for three days, and `up` would be green meanwhile.
    assert {each["protocol"] for each in subscriptions if each.get("endpointAutoConfirms")} == {"https"}
    assert subscribed == {
        ("critical", "https", "https://pager.example.com/told-to-nobody"),
        ("critical", "email", "ops@example.com"),
        ("warning", "https", "https://chat.example.com/told-to-nobody"),
        ("warning", "email", "ops@example.com"),
        ("warning", "email", "backend-lead@example.com"),
    }


def test_every_query_of_the_folder_is_saved_as_it_is() -> None:
    """The operator opens the console at night, and finds yesterday's query, or none."""
    saved = {
        each["name"]: each["queryString"]
        for each in inputs_of(run_program("staging"), "aws:cloudwatch/queryDefinition:QueryDefinition")
    }
    files = sorted((REPOSITORY / "ops" / "queries").glob("*.logsinsights"))
    assert saved == {f"deltacrown/staging/{path.stem}": path.read_text(encoding="utf-8") for path in files}
    assert saved
