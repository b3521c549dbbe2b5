"""One instance profile for a role that the program does not make."""

from pulumi_aws import iam

iam.InstanceProfile("one", name="half-profile", role="half-role")
