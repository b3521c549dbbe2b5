"""Signing in for JSON clients, answers that take their time, and a sign of life."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.contrib.auth import authenticate, login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

LONGEST_SLOW_MILLISECONDS = 10_000  # a graceful stop gives requests 25 s


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Takes `{"username", "password"}` and answers with the session's cookie."""
    if request.content_type != "application/json":
        return JsonResponse({"detail": "Send application/json."}, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    user = _known_user(request)
    if user is None:
        return JsonResponse({"detail": "Wrong username or password."}, status=HTTPStatus.FORBIDDEN)
    login(request, user)
    return JsonResponse({"user_id": user.pk})


@require_http_methods(["GET", "POST"])
def slow(request: HttpRequest) -> HttpResponse:
    """Answers after `?milliseconds=`, for load that is still under way when a worker restarts."""
    text = request.GET.get("milliseconds", "1500")
    if not text.isdecimal() or int(text) > LONGEST_SLOW_MILLISECONDS:
        detail = f"milliseconds: write a whole number up to {LONGEST_SLOW_MILLISECONDS}."
        return JsonResponse({"detail": detail}, status=HTTPStatus.BAD_REQUEST)
    time.sleep(int(text) / 1000)
    return JsonResponse({"milliseconds": int(text)})


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Tells that the process answers; it asks neither the database nor S3."""
    return HttpResponse("ok\n", content_type="text/plain")


def _known_user(request: HttpRequest) -> AbstractBaseUser | None:
    try:
        fields = json.loads(request.body)
        username, password = str(fields["username"]), str(fields["password"])
    except (ValueError, KeyError, TypeError):
        return None
    return authenticate(request, username=username, password=password)
