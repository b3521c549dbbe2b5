"""The drop-in app for the site: a storage class that keeps certificates locally and, by flags, in S3 too.

Add `cutover.django` to INSTALLED_APPS and put `cutover.django.storage.CertificateS3Storage` on both file fields.
"""
