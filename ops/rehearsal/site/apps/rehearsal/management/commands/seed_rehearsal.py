"""`manage.py seed_rehearsal`: the accounts and tournaments of a rehearsal."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from apps.tournaments.models import Tournament

STAFF = {"load-staff": "LOAD_STAFF_PASSWORD", "probe": "PROBE_PASSWORD"}
CUSTOMERS = {"organiser": "ORGANISER_PASSWORD", "customer": "CUSTOMER_PASSWORD"}
TOURNAMENTS = {1: "Rehearsal cup", 2: "Probe cup"}  # probes stay out of the customers' one


class Command(BaseCommand):
    """Creates what is missing and sets the passwords anew, so that it can be run again."""

    help = f"Creates accounts (passwords from {', '.join((STAFF | CUSTOMERS).values())}) and tournaments."

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401 - as Django declares it
        """Raises CommandError, before anything is written, if a password is missing."""
        variables = STAFF | CUSTOMERS
        if missing := sorted(name for name in variables.values() if not os.environ.get(name)):
            raise CommandError(f"Set {', '.join(missing)} in the environment: the accounts need passwords.")
        with transaction.atomic():
            for username, variable in variables.items():
                user, _ = User.objects.get_or_create(username=username)
                user.is_staff = username in STAFF
                user.set_password(os.environ[variable])
                user.save()
            organiser = User.objects.get(username="organiser")
            for number, name in TOURNAMENTS.items():
                Tournament.objects.get_or_create(pk=number, defaults={"name": name, "organiser": organiser})
            _continue_numbers_after(Tournament)


def _continue_numbers_after(model: type[Tournament]) -> None:
    """Moves the identity behind the numbers that were given by hand, or the next insert would repeat one."""
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence(%s, 'id'), (SELECT max(id) FROM {table}))",  # noqa: S608 - our own name
            [model._meta.db_table],
        )
