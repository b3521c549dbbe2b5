"""Reads the JSON body of a POST that issues a certificate."""

from __future__ import annotations

import json
from typing import Any

from apps.tournaments.models import PLACEMENT_LENGTH, TYPE_LENGTH, Tournament
from apps.tournaments.services import Order

SMALLEST_KB, LARGEST_KB = 5, 800  # what the rehearsal plans with
_LARGEST_ID = 2**63 - 1


class OrderError(ValueError):
    """The order cannot be carried out; the sentence names the field."""


def read_order(body: bytes) -> Order:
    """Returns the order in `body`; OrderError for anything that the database would refuse later."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise OrderError("The body is not JSON.") from error
    if not isinstance(fields, dict):
        raise OrderError("The body is not a JSON object.")
    order = Order(
        tournament_id=_whole_number(fields, "tournament_id", 1, _LARGEST_ID),
        participant_id=_whole_number(fields, "participant_id", 1, _LARGEST_ID),
        certificate_type=_text(fields, "certificate_type", TYPE_LENGTH),
        placement=_text(fields, "placement", PLACEMENT_LENGTH) if "placement" in fields else "",
        size_kb=_whole_number(fields, "size_kb", SMALLEST_KB, LARGEST_KB) if "size_kb" in fields else None,
    )
    if not Tournament.objects.filter(pk=order.tournament_id).exists():
        raise OrderError(f"tournament_id: there is no tournament {order.tournament_id}.")
    return order


def _whole_number(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise OrderError(f"{name}: write a whole number from {least} to {most}.")
    return value


def _text(fields: dict[str, Any], name: str, longest: int) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or len(value) > longest or not value.isprintable():
        raise OrderError(f"{name}: write a text of 1 to {longest} printable characters.")
    return value
