"""The storage class under the name by which the application knows it."""

from cutover.django.storage import CertificateS3Storage

__all__ = ["CertificateS3Storage"]
