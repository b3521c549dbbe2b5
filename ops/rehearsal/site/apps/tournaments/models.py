"""The certificate table, column by column as the application has it, and as much of a tournament as it needs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models

from apps.tournaments.storage import CertificateS3Storage

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

TYPE_LENGTH = 20
PLACEMENT_LENGTH = 50


class Tournament(models.Model):
    """A tournament; its organiser may download all of its certificates."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    name: models.CharField[str, str] = models.CharField(max_length=100)
    organiser: models.ForeignKey[User, User] = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)

    objects: ClassVar[models.Manager[Tournament]] = models.Manager()

    def __str__(self) -> str:
        return self.name


class Certificate(models.Model):
    """A certificate with its two files, made once when it is issued. The participant is a user of the site."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    tournament: models.ForeignKey[Tournament, Tournament] = models.ForeignKey(Tournament, on_delete=models.PROTECT)
    participant_id: models.BigIntegerField[int, int] = models.BigIntegerField()
    certificate_type: models.CharField[str, str] = models.CharField(max_length=TYPE_LENGTH)
    placement: models.CharField[str, str] = models.CharField(max_length=PLACEMENT_LENGTH, blank=True)
    file_pdf = models.FileField(upload_to="certificates/pdf/%Y/%m/", storage=CertificateS3Storage, null=True)
    file_image = models.FileField(upload_to="certificates/images/%Y/%m/", storage=CertificateS3Storage, null=True)
    verification_code: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(default=uuid.uuid4, unique=True)
    certificate_hash: models.CharField[str, str] = models.CharField(max_length=64)
    generated_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)
    updated_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now=True)
    downloaded_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    download_count: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(default=0)
    revoked_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    revoked_reason: models.TextField[str, str] = models.TextField(blank=True)
    migrated_to_s3_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager[Certificate]] = models.Manager()

    class Meta:
        """The table's name and its one rule."""

        db_table = "tournament_engine_certificate_certificate"
        constraints = (
            models.UniqueConstraint(
                fields=["tournament", "participant_id", "certificate_type"],
                condition=models.Q(revoked_at__isnull=True),
                name="one_valid_certificate_of_a_type",
            ),
        )

    def __str__(self) -> str:
        return f"certificate {self.pk}"

    def may_be_read_by(self, user: User) -> bool:
        """Tells whether `user` is the owner, the tournament's organiser or staff."""
        return user.is_staff or user.pk in {self.participant_id, self.tournament.organiser.pk}
