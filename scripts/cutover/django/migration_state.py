"""Whether a file's certificate is marked as migrated, by the certificate table itself."""

from __future__ import annotations

import re

from django.conf import settings
from django.db.models import Model, Q
from django.utils.module_loading import import_string

DEFAULT_MODEL = "apps.tournaments.models.Certificate"
_CERTIFICATE_ID = re.compile(r"/cert_(\d{1,18})_[^/]*$")


def certificate_model() -> type[Model]:
    """The certificates' model, which the setting CERTIFICATE_MODEL names by its dotted path; ImportError without it."""
    model: type[Model] = import_string(getattr(settings, "CERTIFICATE_MODEL", DEFAULT_MODEL))
    return model


def is_migrated(name: str) -> bool:
    """Returns whether the row that owns the file `name` has `migrated_to_s3_at` set.

    The file columns have no index, so the row is found by the id in the name and then must own that name. Raises
    django.db.Error without a database.
    """
    owners = certificate_model()._default_manager.filter(Q(file_pdf=name) | Q(file_image=name))
    if found := _CERTIFICATE_ID.search(name):
        owners = owners.filter(pk=int(found[1]))
    return owners.filter(migrated_to_s3_at__isnull=False).exists()
