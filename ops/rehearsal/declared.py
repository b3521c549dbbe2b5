"""What the Pulumi program declares, in the shape of the AWS API: what `pulumi up` would send, without any cloud.

`python -m rehearsal.declared STACK [--settings JSON]` prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import yaml
from pulumi.runtime import rpc

from rehearsal.provider.properties import ProviderError, completed, faults
from rehearsal.provider.servicer import RESOURCE_TYPES
from rehearsal.provider.wire import from_struct, to_struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.provider.resource import ResourceType
    from rehearsal.provider.wire import Values

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"  # AWS's documentation has it in every ARN
REGION = "us-east-1"
TYPES = {resource_type.type_name: resource_type for resource_type in RESOURCE_TYPES}
OTHER = "other"
SECRET = "https://secret.invalid/"  # noqa: S105 (stands for a setting that only the CLI can decrypt)
ARNS = {  # AWS's, with the value of a type's first property for {name}
    "aws:budgets/budget:Budget": f"arn:aws:budgets::{ACCOUNT}:budget/{{name}}",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}",
    "aws:cloudwatch/dashboard:Dashboard": f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{{name}}",
    "aws:cloudwatch/logGroup:LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}",
    "aws:iam/instanceProfile:InstanceProfile": f"arn:aws:iam::{ACCOUNT}:instance-profile/{{name}}",
    "aws:iam/role:Role": f"arn:aws:iam::{ACCOUNT}:role/{{name}}",
    "aws:s3/bucket:Bucket": "arn:aws:s3:::{name}",
    "aws:sns/topic:Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{name}}",
}
TOPIC = "aws:sns/topic:Topic"


def declared(
    stack: str, settings: Mapping[str, Any] | None = None, program: Path = REPOSITORY / "infra"
) -> dict[str, list[dict[str, Any]]]:
    """Returns the parameters of each declared resource by the API's kind ("MetricAlarm", "MetricFilter", …).

    `settings` override those of Pulumi.<stack>.yaml; {"secure": ""} stands for a secret. A kind without resources has
    an empty list; under "other" stand those whose parameters nobody asks for, as {"type", "name", "parameters"}. ARNs
    are plausible ones of account 123456789012. Raises pulumi.RunError for a bad setting, and ProviderError for a
    resource type or property that the rehearsal does not know and for parameters that AWS would refuse. Replaces
    Pulumi's settings of this process, so run nothing else of Pulumi at the same time.
    """
    recorder = _Recorder()
    project = _read(REPOSITORY / "Pulumi.yaml")["name"]
    config = _config(stack, project, settings or {})
    pulumi.runtime.set_mocks(recorder, project=project, stack=stack)
    secrets = [key for key, value in config.items() if _is_secret(value)]
    pulumi.runtime.set_all_config({key: _setting(value) for key, value in config.items()}, secrets)
    run = pulumi.runtime.test(  # type: ignore[no-untyped-call]  # pulumi gives it no types
        lambda: runpy.run_path(str(program), run_name="__main__")
    )
    run()
    if recorder.refusals:
        raise recorder.refusals[0]
    return {kind: sorted(resources, key=_name) for kind, resources in recorder.resources.items()}


class _Recorder(pulumi.runtime.Mocks):
    """Answers each registration as AWS would, and keeps what AWS would be given, and what it would refuse."""

    def __init__(self) -> None:
        kinds = [resource_type.kind for resource_type in RESOURCE_TYPES if resource_type.kind is not None]
        self.resources: dict[str, list[dict[str, Any]]] = {kind: [] for kind in [*kinds, OTHER]}
        self.refusals: list[ProviderError] = []  # raised at the end: Pulumi prints a traceback for each at once

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        if not args.custom:
            return None, dict(args.inputs)
        try:
            return self._declare(args)
        except ProviderError as refusal:
            self.refusals.append(refusal)
            return args.name, dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], None]:
        self.refusals.append(ProviderError(f"The rehearsal does not know the function {args.token}."))
        return {}, None

    def _declare(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[Any, Any]]:
        resource_type = TYPES.get(args.typ)
        if resource_type is None:
            raise ProviderError(f"The rehearsal does not know the resource type {args.typ} of {args.name}.")
        plain = {name: rpc.unwrap_rpc_secret(value) for name, value in args.inputs.items()}
        given = from_struct(to_struct(plain))  # as the provider gets them
        for path, reason in faults(resource_type.fields, given):
            raise ProviderError(f"{path} of {args.typ} {args.name}: {reason}.")
        inputs = completed(resource_type.fields, given)
        self._keep(resource_type, args.name, inputs)
        outputs = _outputs(resource_type, inputs)
        name: str = inputs[next(iter(resource_type.fields))]
        return outputs["arn"] if args.typ == TOPIC else name, inputs | outputs

    def _keep(self, resource_type: type[ResourceType], name: str, inputs: Values) -> None:
        parameters = resource_type.parameters(inputs)
        if resource_type.kind is None:
            parameters = {"name": name, "type": resource_type.type_name, "parameters": parameters}
        self.resources[resource_type.kind or OTHER].append(parameters)


def _outputs(resource_type: type[ResourceType], inputs: Mapping[str, Any]) -> dict[str, Any]:
    name = inputs[next(iter(resource_type.fields))]
    arn = ARNS.get(resource_type.type_name, "arn:aws:unknown:::{name}").format(name=name)
    return {output: arn if output.lower().endswith("arn") else f"{name}-{output}" for output in resource_type.computed}


def _name(parameters: Mapping[str, Any]) -> str:
    return str(next(iter(parameters.values())))  # the first one names the resource


def _config(stack: str, project: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = _read(REPOSITORY / f"Pulumi.{stack}.yaml").get("config", {})
    return config | {f"{project}:{key}": value for key, value in settings.items()}


def _is_secret(value: Any) -> bool:  # noqa: ANN401 (what YAML can hold)
    return isinstance(value, dict) and value.keys() == {"secure"}


def _setting(value: Any) -> str:  # noqa: ANN401 (what YAML can hold)
    """Returns a setting as the CLI hands it to the program: a text, or JSON."""
    if _is_secret(value):
        return SECRET
    return value if isinstance(value, str) else json.dumps(value)


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def main() -> int:
    """Prints what a stack declares as one JSON document; 2 if it cannot be declared."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.declared", description=__doc__)
    parser.add_argument("stack")
    parser.add_argument("--settings", type=json.loads, default={}, help="settings as a JSON object; no secrets")
    arguments = parser.parse_args()
    try:
        print(json.dumps(declared(arguments.stack, arguments.settings), indent=1))
    except (pulumi.RunError, ProviderError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
