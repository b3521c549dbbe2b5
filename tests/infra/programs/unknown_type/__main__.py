"""A resource type that the rehearsal's provider does not have."""

from pulumi_aws import s3

s3.BucketAcl("lists", bucket="some-bucket", acl="private")
