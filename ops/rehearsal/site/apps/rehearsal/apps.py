"""The app's label."""

from django.apps import AppConfig


class RehearsalConfig(AppConfig):
    """The parts of the site that the real application does not have."""

    name = "apps.rehearsal"
    label = "rehearsal"
