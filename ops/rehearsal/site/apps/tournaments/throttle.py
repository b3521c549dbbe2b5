"""The limit on verifications: by the hour and by client, counted in each process as the default cache does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.core.cache import cache

if TYPE_CHECKING:
    from django.http import HttpRequest

ANONYMOUS_PER_HOUR = 100
SIGNED_IN_PER_HOUR = 1000
_HOUR_SECONDS = 3600


def is_throttled(request: HttpRequest) -> bool:
    """Counts the request and tells whether its client has used up the hour."""
    if request.user.is_authenticated:
        client, limit = f"user-{request.user.pk}", SIGNED_IN_PER_HOUR
    else:
        # The client's own: nginx takes it from the load balancer, and believes nobody else.
        client, limit = request.META["REMOTE_ADDR"], ANONYMOUS_PER_HOUR
    key = f"verify-{client}-{int(time.time() // _HOUR_SECONDS)}"
    cache.add(key, 0, timeout=_HOUR_SECONDS)
    return cache.incr(key) > limit
