"""A property that the rehearsal's provider does not have."""

from pulumi_aws import s3

s3.Bucket("fast", bucket="some-bucket", acceleration_status="Enabled")
