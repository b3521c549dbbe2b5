"""The one error of the S3 half, in a module of its own so that catching it does not import boto3."""


class S3Error(OSError):
    """S3 did not do, within its time, what was asked; the sentence says what was asked and why it failed.

    An OSError, so that whoever opens a file need not know where it lies to answer that it cannot be read.
    """
