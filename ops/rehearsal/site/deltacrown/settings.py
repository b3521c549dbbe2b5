"""Settings of the stand-in site; everything that differs between deployments comes from the environment."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from deltacrown.database_url import database_settings

LOG_LAYOUTS = ("console", "json")


def required(variable: str) -> str:
    """Returns the environment variable's text, or refuses to start without it."""
    value = os.environ.get(variable)
    if not value:
        raise ImproperlyConfigured(f"{variable} is not set: the site does not start without it.")
    return value


BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = required("DJANGO_SECRET_KEY")
DATABASES = {"default": database_settings(required("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DEBUG = False
ALLOWED_HOSTS = ["*"]  # reachable in the rehearsal's own network only

# As few as possible: the time of a rollback is mostly the time in which its processes start.
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "cutover.django",
    "apps.tournaments",
    "apps.rehearsal",
]
# No CSRF middleware: state changes with a JSON body or DELETE only, and to those a browser does not add the
# cookie when another site asks.
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_SAMESITE = "Strict"
# Accounts live as long as a rehearsal; a slow hash would only make signing in the bottleneck of its load.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "deltacrown.urls"
WSGI_APPLICATION = "deltacrown.wsgi.application"
APPEND_SLASH = False

USE_TZ = True
TIME_ZONE = "Asia/Dhaka"
USE_I18N = False

MEDIA_ROOT = os.environ.get("MEDIA_ROOT", str(BASE_DIR / "media"))
MEDIA_URL = "/media/"

# CERT_S3_* are read by cutover.django.flags, from the environment as well.
AWS_STORAGE_BUCKET_NAME = os.environ.get("AWS_STORAGE_BUCKET_NAME", "deltacrown-certificates-prod")
AWS_S3_REGION_NAME = os.environ.get("AWS_S3_REGION_NAME", "us-east-1")

LOG_LAYOUT = os.environ.get("DELTACROWN_LOG_LAYOUT", "console")
if LOG_LAYOUT not in LOG_LAYOUTS:
    raise ImproperlyConfigured(f"DELTACROWN_LOG_LAYOUT is {LOG_LAYOUT!r}: write one of {', '.join(LOG_LAYOUTS)}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "console": {"format": "%(levelname)s %(asctime)s %(name)s %(message)s"},
        "json": {"()": "deltacrown.json_log.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_LAYOUT}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "botocore": {"level": "WARNING"},
    },
}
