"""One bucket whose name is a setting, with a secret tag."""

import pulumi
from pulumi_aws import s3

config = pulumi.Config("deltacrown-cutover")
s3.Bucket(
    "one",
    bucket=config.require("name"),
    force_destroy=config.get_bool("forceDestroy"),
    tags={"note": pulumi.Output.secret("told-to-nobody")},
)
