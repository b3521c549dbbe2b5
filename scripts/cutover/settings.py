"""The data tools' settings: the application's own environment file, or the process environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings", "SettingsError", "load", "parse_environment_file"]


class SettingsError(ValueError):
    """A setting is absent or cannot be used; the sentence names it and its file."""


@dataclass(frozen=True)
class Settings:
    """Where the certificates are: the shared disk and the bucket."""

    media_root: Path
    bucket: str
    region: str
    endpoint_url: str | None


def parse_environment_file(text: str) -> dict[str, str]:
    """The assignments that systemd would take from an environment file: no `export`, quotes removed, the last wins."""
    values = {}
    for raw in text.splitlines():
        line = raw.strip()
        name, sign, value = line.partition("=")
        if not sign or line.startswith(("#", ";")) or not name.strip().isidentifier():
            continue
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = value
    return values


def load(environment_file: Path | None) -> Settings:
    """Reads the settings; those of a file are put into this process's environment, where the AWS chain looks.

    Raises:
        SettingsError: the file cannot be read, a setting is absent, or MEDIA_ROOT is no directory.
    """
    if environment_file is not None:
        try:
            os.environ.update(parse_environment_file(environment_file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{environment_file}: cannot be read as UTF-8 text ({error})") from error
    source = str(environment_file or "the environment")
    return Settings(
        media_root=_directory(_required("MEDIA_ROOT", source), source),
        bucket=_required("AWS_STORAGE_BUCKET_NAME", source),
        region=os.environ.get("AWS_S3_REGION_NAME", "us-east-1"),
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or None,
    )


def _required(name: str, source: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(
            f"{name} is not set in {source}: add it, or give --env-file /etc/deltacrown/<deployment>.env"
        )
    return value


def _directory(value: str, source: str) -> Path:
    path = Path(value)
    if not path.is_dir():
        raise SettingsError(f"MEDIA_ROOT {value} of {source} is no directory on this machine: is the export mounted?")
    return path
