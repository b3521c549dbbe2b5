"""The site, started in a process of its own that has a worker's environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import django

from cutover import settings
from cutover.django.migration_state import certificate_model
from cutover.exit_codes import CommandError, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from django.core.files.storage import Storage
    from django.db.models import Model

__all__ = ["SiteStartError", "add_environment_files", "adopt", "start"]


class SiteStartError(CommandError):
    """The site does not start, so nothing can be said of it."""

    exit_code = ExitCode.ERROR


def add_environment_files(parser: argparse.ArgumentParser) -> None:
    """Adds `--env-file`, which may be repeated as systemd's EnvironmentFile may."""
    parser.add_argument(
        "--env-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="an environment file that the workers have; the later one wins",
    )


def adopt(files: Sequence[Path]) -> None:
    """Puts these files' assignments into this process's environment; SettingsError if one cannot be read."""
    for file in files:
        settings.adopt(file)


def start() -> tuple[type[Model], Storage]:
    """Starts the site in this process and gives its model of certificates, and the storage of their PDFs.

    Raises:
        SiteStartError: whatever its settings, its applications or their imports raise.
    """
    try:
        django.setup()
        model = certificate_model()
        return model, model._meta.get_field("file_pdf").storage  # type: ignore[union-attr]  # a FileField
    except Exception as error:
        name = os.environ.get("DJANGO_SETTINGS_MODULE")
        raise SiteStartError(
            f"the site cannot be started ({type(error).__name__}: {error}): run this in its folder with its own "
            f"Python, its environment and DJANGO_SETTINGS_MODULE (now {name})"
        ) from error
