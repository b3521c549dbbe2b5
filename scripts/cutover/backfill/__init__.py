"""The backfill: certificates of the local disk stored in S3, verified, and only then marked."""
