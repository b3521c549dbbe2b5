"""The daily comparison of table and bucket, as the drop-in does it."""

from cutover.django.consistency import check_certificate_consistency

__all__ = ["check_certificate_consistency"]
