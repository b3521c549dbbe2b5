"""The types of IAM: roles, their inline policies, instance profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal.provider.properties import Field, Fields, ProviderError, from_api, to_api
from rehearsal.provider.resource import ResourceType, superfluous_tags, unless_gone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_iam.type_defs import InstanceProfileTypeDef

    from rehearsal.provider.wire import Values

GONE = "NoSuchEntity"
ROLE_SESSION_SECONDS = 3600  # AWS's default for the longest session of a role
TAGS = Field("Tags", default={}, kind="tags")
PATH = Field("Path", default="/", replaces=True)

ROLE_FIELDS: Fields = {
    "name": Field("RoleName", required=True, replaces=True),
    "path": PATH,
    "assumeRolePolicy": Field("AssumeRolePolicyDocument", required=True, kind="json"),
    "description": Field("Description", default=""),
    "maxSessionDuration": Field("MaxSessionDuration", default=ROLE_SESSION_SECONDS),
    "tags": TAGS,
}
ROLE_READ_ONLY = frozenset({"Arn", "RoleId", "CreateDate", "RoleLastUsed"})

ROLE_POLICY_FIELDS: Fields = {
    "name": Field("PolicyName", required=True, replaces=True),
    "role": Field("RoleName", required=True, replaces=True),
    "policy": Field("PolicyDocument", required=True, kind="json"),
}

INSTANCE_PROFILE_FIELDS: Fields = {
    "name": Field("InstanceProfileName", required=True, replaces=True),
    "path": PATH,
    "role": Field("RoleName"),
    "tags": TAGS,
}
# "Roles" is read as "RoleName": AWS allows a profile one role.
INSTANCE_PROFILE_READ_ONLY = frozenset({"Arn", "InstanceProfileId", "CreateDate", "Roles"})


class Role(ResourceType):
    """A role; its id is its name."""

    type_name = "aws:iam/role:Role"
    fields = ROLE_FIELDS
    computed = ("arn", "uniqueId")

    def create(self, inputs: Values) -> str:
        """Creates the role with its trust policy and tags."""
        name: str = self.clients.iam.create_role(**to_api(ROLE_FIELDS, inputs))["Role"]["RoleName"]
        return name

    def read(self, resource_id: str) -> Values | None:
        """Returns the role."""
        answer = unless_gone(lambda: self.clients.iam.get_role(RoleName=resource_id)["Role"], GONE)
        if answer is None:
            return None
        values = from_api(ROLE_FIELDS, answer, read_only=ROLE_READ_ONLY)
        return values | {"arn": answer["Arn"], "uniqueId": answer["RoleId"]}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Sets trust policy, description, session length and tags."""
        iam = self.clients.iam
        iam.update_assume_role_policy(RoleName=resource_id, PolicyDocument=inputs["assumeRolePolicy"])
        iam.update_role(
            RoleName=resource_id,
            Description=inputs["description"],
            MaxSessionDuration=inputs["maxSessionDuration"],
        )
        held = iam.list_role_tags(RoleName=resource_id)["Tags"]
        iam.untag_role(RoleName=resource_id, TagKeys=superfluous_tags(held, inputs))
        iam.tag_role(RoleName=resource_id, Tags=to_api({"tags": TAGS}, inputs)["Tags"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Deletes the role; AWS refuses one that still has policies or instance profiles."""
        unless_gone(lambda: self.clients.iam.delete_role(RoleName=resource_id), GONE)


class RolePolicy(ResourceType):
    """An inline policy of a role; its id is `role:name`."""

    type_name = "aws:iam/rolePolicy:RolePolicy"
    fields = ROLE_POLICY_FIELDS

    def create(self, inputs: Values) -> str:
        """Puts the policy."""
        self.clients.iam.put_role_policy(**to_api(ROLE_POLICY_FIELDS, inputs))
        return f"{inputs['role']}:{inputs['name']}"

    def read(self, resource_id: str) -> Values | None:
        """Returns the policy."""
        role, name = self._names(resource_id)
        answer = unless_gone(lambda: self.clients.iam.get_role_policy(RoleName=role, PolicyName=name), GONE)
        return None if answer is None else from_api(ROLE_POLICY_FIELDS, answer)

    def update(self, resource_id: str, inputs: Values) -> None:
        """Puts the policy anew."""
        role, name = self._names(resource_id)
        self.clients.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=inputs["policy"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Takes the policy from the role."""
        role, name = self._names(resource_id)
        unless_gone(lambda: self.clients.iam.delete_role_policy(RoleName=role, PolicyName=name), GONE)

    @staticmethod
    def _names(resource_id: str) -> tuple[str, str]:
        role, separator, name = resource_id.partition(":")
        if not separator:
            raise ProviderError(f"'{resource_id}' is no id of a role policy: write role:name.")
        return role, name


class InstanceProfile(ResourceType):
    """What carries a role to an EC2 instance; its id is its name."""

    type_name = "aws:iam/instanceProfile:InstanceProfile"
    fields = INSTANCE_PROFILE_FIELDS
    computed = ("arn", "uniqueId")

    def create(self, inputs: Values) -> str:
        """Creates the profile with its tags."""
        api = to_api(INSTANCE_PROFILE_FIELDS, inputs)
        api.pop("RoleName", None)
        name: str = self.clients.iam.create_instance_profile(**api)["InstanceProfile"]["InstanceProfileName"]
        return name

    def complete(self, resource_id: str, inputs: Values) -> None:
        """Puts the role into the profile."""
        if role := inputs.get("role"):
            self.clients.iam.add_role_to_instance_profile(InstanceProfileName=resource_id, RoleName=role)

    def read(self, resource_id: str) -> Values | None:
        """Returns the profile with its role."""
        answer = self._get(resource_id)
        if answer is None:
            return None
        role = {"RoleName": answer["Roles"][0]["RoleName"]} if answer["Roles"] else {}
        values = from_api(INSTANCE_PROFILE_FIELDS, {**answer, **role}, read_only=INSTANCE_PROFILE_READ_ONLY)
        return values | {"arn": answer["Arn"], "uniqueId": answer["InstanceProfileId"]}

    def update(self, resource_id: str, inputs: Values) -> None:
        """Exchanges the role and sets the tags."""
        iam = self.clients.iam
        answer = iam.get_instance_profile(InstanceProfileName=resource_id)["InstanceProfile"]
        wanted = inputs.get("role")
        self._remove_roles(resource_id, [role for role in answer["Roles"] if role["RoleName"] != wanted])
        if wanted and wanted not in {role["RoleName"] for role in answer["Roles"]}:
            iam.add_role_to_instance_profile(InstanceProfileName=resource_id, RoleName=wanted)
        iam.untag_instance_profile(
            InstanceProfileName=resource_id, TagKeys=superfluous_tags(answer.get("Tags", []), inputs)
        )
        iam.tag_instance_profile(InstanceProfileName=resource_id, Tags=to_api({"tags": TAGS}, inputs)["Tags"])

    def delete(self, resource_id: str, state: Values) -> None:  # noqa: ARG002 (the interface's signature)
        """Takes the role out, and deletes the profile."""
        answer = self._get(resource_id)
        if answer is not None:
            self._remove_roles(resource_id, answer["Roles"])
            self.clients.iam.delete_instance_profile(InstanceProfileName=resource_id)

    def _get(self, name: str) -> InstanceProfileTypeDef | None:
        return unless_gone(
            lambda: self.clients.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"], GONE
        )

    def _remove_roles(self, name: str, roles: Sequence[Mapping[str, Any]]) -> None:
        for role in roles:
            self.clients.iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
