"""The certificate service: issues a certificate with both of its files, and removes one."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from django.core.files.base import ContentFile
from django.db import transaction

from apps.tournaments import rendering
from apps.tournaments.models import Certificate


@dataclass(frozen=True)
class Order:
    """What is to be issued; `size_kb` makes both files about that large (KB of 1,024 bytes)."""

    tournament_id: int
    participant_id: int
    certificate_type: str
    placement: str
    size_kb: int | None


def issue(order: Order) -> Certificate:
    """Writes the row and both files.

    Raises django.db.IntegrityError if the participant holds a valid certificate of this type already. After
    any failure neither the row nor a file is left.
    """
    with transaction.atomic():
        certificate = Certificate.objects.create(
            tournament_id=order.tournament_id,
            participant_id=order.participant_id,
            certificate_type=order.certificate_type,
            placement=order.placement,
        )
        try:
            _write_files(certificate, order.size_kb)
        except BaseException:
            _delete_files(certificate)
            raise
    return certificate


def remove(certificate: Certificate) -> None:
    """Deletes the row, then both files with their copies in S3."""
    certificate.delete()
    _delete_files(certificate)


def _write_files(certificate: Certificate, size_kb: int | None) -> None:
    text = rendering.Text(
        title=f"Certificate of {certificate.certificate_type}",
        lines=(
            f"participant {certificate.participant_id}, placement {certificate.placement or '-'}",
            certificate.tournament.name,
            f"verification code {certificate.verification_code}",
        ),
    )
    document = rendering.pdf(text, size_kb)
    stem = f"cert_{certificate.pk}_{secrets.token_hex(4)}"
    certificate.certificate_hash = hashlib.sha256(document).hexdigest()
    certificate.file_pdf.save(f"{stem}.pdf", ContentFile(document), save=False)
    certificate.file_image.save(f"{stem}.png", ContentFile(rendering.png(text, size_kb)), save=False)
    certificate.save()


def _delete_files(certificate: Certificate) -> None:
    for file in (certificate.file_pdf, certificate.file_image):
        if file:
            file.delete(save=False)
