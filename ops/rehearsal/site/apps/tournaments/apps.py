"""The app's label, which `manage.py migrate tournaments` names."""

from django.apps import AppConfig


class TournamentsConfig(AppConfig):
    """Tournaments and their certificates."""

    name = "apps.tournaments"
    label = "tournaments"
