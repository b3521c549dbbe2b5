"""What a backfill is asked for and cannot do."""

__all__ = ["UnknownCertificateError"]


class UnknownCertificateError(ValueError):
    """A certificate is asked for by an id or a file that no row has."""
