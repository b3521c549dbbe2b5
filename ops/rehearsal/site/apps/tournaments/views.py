"""Download, verification and the staff's own ways to issue and remove certificates."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db import IntegrityError
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.tournaments import services
from apps.tournaments.models import Certificate
from apps.tournaments.orders import OrderError, read_order
from apps.tournaments.throttle import is_throttled

if TYPE_CHECKING:
    import uuid

_UNREADABLE = "The PDF cannot be read now, try again later."


@require_http_methods(["GET", "HEAD", "DELETE"])
def certificate(request: HttpRequest, certificate_id: int) -> HttpResponseBase:
    """Downloads a certificate's PDF, or (DELETE, staff) removes the certificate with its files."""
    if request.method == "DELETE":
        if refused := _refused_to_all_but_staff(request):
            return refused
        services.remove(get_object_or_404(Certificate, pk=certificate_id))
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    if "format" in request.GET:  # the REST framework of the application takes this parameter for itself
        return _error(HTTPStatus.NOT_FOUND, "There is no such format.")
    found = _readable(request, certificate_id)
    return found if isinstance(found, HttpResponseBase) else _download(found)


@require_safe
def urls(request: HttpRequest, certificate_id: int) -> HttpResponseBase:
    """Returns the storage's URLs of both files; null where there is no file."""
    found = _readable(request, certificate_id)
    return found if isinstance(found, HttpResponseBase) else JsonResponse(_urls(found))


@require_safe
def verify(request: HttpRequest, verification_code: uuid.UUID) -> HttpResponseBase:
    """Compares the stored PDF with the hash of the PDF that was issued; one that cannot be read proves nothing."""
    if is_throttled(request):
        return _error(HTTPStatus.TOO_MANY_REQUESTS, "This hour's verifications are used up.")
    found = get_object_or_404(Certificate, verification_code=verification_code)
    try:
        stored_hash = _hash_of_pdf(found)
    except OSError:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, _UNREADABLE)
    return JsonResponse(
        {
            "certificate_id": found.pk,
            "is_revoked": found.revoked_at is not None,
            "is_tampered": stored_hash != found.certificate_hash,
        }
    )


@require_POST
def issue(request: HttpRequest) -> HttpResponseBase:
    """Issues a certificate for staff: load and probes need what the application's own pipeline does unasked."""
    if refused := _refused_to_all_but_staff(request):
        return refused
    if request.content_type != "application/json":
        return _error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
    try:
        issued = services.issue(read_order(request.body))
    except OrderError as error:
        return _error(HTTPStatus.BAD_REQUEST, str(error))
    except IntegrityError:
        return _error(HTTPStatus.CONFLICT, "This participant holds a valid certificate of this type already.")
    return JsonResponse(
        {
            "id": issued.pk,
            "file_pdf": issued.file_pdf.name,
            "file_image": issued.file_image.name,
            "certificate_hash": issued.certificate_hash,
            "verification_code": str(issued.verification_code),
            "urls": _urls(issued),
        },
        status=HTTPStatus.CREATED,
    )


def _download(found: Certificate) -> HttpResponseBase:
    if found.revoked_at is not None:
        return _error(HTTPStatus.GONE, "This certificate was revoked.")
    if not found.file_pdf:
        return _error(HTTPStatus.NOT_FOUND, "This certificate has no PDF.")
    try:
        file = found.file_pdf.open("rb")
    except OSError:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, _UNREADABLE)
    response = FileResponse(file, content_type="application/pdf")
    response["ETag"] = f'"{found.certificate_hash}"'
    response["Cache-Control"] = "private, max-age=600"
    Certificate.objects.filter(pk=found.pk).update(
        download_count=F("download_count") + 1, downloaded_at=Coalesce("downloaded_at", Now())
    )
    return response


def _readable(request: HttpRequest, certificate_id: int) -> Certificate | HttpResponse:
    user = request.user
    if not isinstance(user, User):
        return _error(HTTPStatus.UNAUTHORIZED, "Sign in first.")
    found = get_object_or_404(Certificate.objects.select_related("tournament"), pk=certificate_id)
    if not found.may_be_read_by(user):
        return _error(HTTPStatus.FORBIDDEN, "Only its owner, the organiser and staff may read a certificate.")
    return found


def _refused_to_all_but_staff(request: HttpRequest) -> HttpResponse | None:
    if not isinstance(request.user, User):
        return _error(HTTPStatus.UNAUTHORIZED, "Sign in first.")
    if not request.user.is_staff:
        return _error(HTTPStatus.FORBIDDEN, "Only staff may do this.")
    return None


def _hash_of_pdf(found: Certificate) -> str | None:
    """Returns None for a row without a PDF, which is as bad as a wrong one; OSError if it cannot be read."""
    if not found.file_pdf:
        return None
    with found.file_pdf.open("rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _urls(found: Certificate) -> dict[str, str | None]:
    return {
        "pdf": found.file_pdf.url if found.file_pdf else None,
        "image": found.file_image.url if found.file_image else None,
    }


def _error(status: HTTPStatus, detail: str) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=status)
