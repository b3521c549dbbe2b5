"""`manage.py backfill_certificates_to_s3`: `cutover backfill` under the name that the runbook knows.

It replaces the application's own command if `cutover.django` stands before the application in INSTALLED_APPS.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from cutover import cli
from cutover.backfill import command

# What a site may keep in its settings alone; the database's address and the flags are in its environment.
SETTINGS = ("MEDIA_ROOT", "AWS_STORAGE_BUCKET_NAME", "AWS_S3_REGION_NAME")


class Command(BaseCommand):
    """Ends with the exit code of `cutover backfill`."""

    help = command.DESCRIPTION

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the options of `cutover backfill`."""
        command.add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - as Django declares it
        """Runs the backfill on the site's own certificates; SystemExit with its exit code unless all is done."""
        for name in SETTINGS:
            if value := getattr(settings, name, None):
                os.environ.setdefault(name, str(value))
        if code := cli.outcome(command.run, argparse.Namespace(**options)):
            sys.exit(code)
