"""The data tools' settings: the application's own environment file, or the process environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.exit_codes import CommandError

if TYPE_CHECKING:
    import argparse

__all__ = ["Settings", "SettingsError", "add_arguments", "adopt", "flag", "load", "parse_environment_file"]

STATE_DIRECTORY = "/var/lib/deltacrown-cutover"
# Both clients take such a URL and no other; obstore ends the process over some that it does not take.
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_PLAIN_URL = re.compile(rf"https?://(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?/?")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+", re.ASCII)


class SettingsError(CommandError, ValueError):
    """A setting is absent or cannot be used; the sentence names it and its file."""


@dataclass(frozen=True)
class Settings:
    """Where the certificates are: the shared disk, the bucket and the table; and under whose name they are reached."""

    media_root: Path
    bucket: str
    region: str
    endpoint_url: str | None
    state_directory: Path  # what outlives a run: accepted rows, control of a running one; not made here
    database_url: str = field(default="", repr=False)  # has a password; empty where no command asked for it
    role_arn: str | None = None
    environment_file: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options by which every data command finds its settings."""
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="the application's environment file")
    parser.add_argument("--role-arn", metavar="ARN", help="assume this role, refreshed as long as the command runs")


def parse_environment_file(text: str) -> dict[str, str]:
    """The assignments of an environment file: quotes and carriage returns removed, the last one wins.

    A line that begins with `export` counts, although systemd ignores it: the runbook writes its flags so, and
    whoever turns the backfill off by such a line must be obeyed. `cutover doctor` names such lines.
    """
    values = {}
    for raw in text.split("\n"):
        line = raw.strip().removeprefix("export ")
        name, sign, value = line.partition("=")
        if not sign or line.startswith(("#", ";")) or not name.strip().isidentifier():
            continue
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = value
    return values


def adopt(environment_file: Path | None) -> None:
    """Puts an environment file's assignments into this process's environment, where the AWS chain looks.

    Raises:
        SettingsError: the file cannot be read.
    """
    if environment_file is not None:
        os.environ.update(_read(environment_file))


def load(environment_file: Path | None, *, role_arn: str | None = None) -> Settings:
    """Reads the settings; those of a file are put into this process's environment, where the AWS chain looks.

    Raises:
        SettingsError: the file cannot be read, a setting is absent, no URL or no role's ARN, or MEDIA_ROOT is no
            directory.
    """
    adopt(environment_file)
    source = str(environment_file or "the environment")
    bucket = _required("AWS_STORAGE_BUCKET_NAME", source)
    return Settings(
        media_root=_directory(_required("MEDIA_ROOT", source), source),
        bucket=bucket,
        region=os.environ.get("AWS_S3_REGION_NAME") or "us-east-1",
        endpoint_url=_endpoint(os.environ.get("AWS_ENDPOINT_URL_S3"), source),
        state_directory=Path(os.environ.get("CUTOVER_STATE_DIRECTORY") or STATE_DIRECTORY) / bucket,
        database_url=os.environ.get("DATABASE_URL", ""),
        role_arn=_role(role_arn),
        environment_file=environment_file,
    )


def flag(values: Settings, variable: str) -> bool:
    """Whether a flag is on, now: only the text `true`, in any case, is on.

    The environment file is read again; without one, the environment of this process counts.

    Raises:
        SettingsError: the file cannot be read any more, which is not the same as off.
    """
    source = os.environ if values.environment_file is None else _read(values.environment_file)
    return source.get(variable, "").lower() == "true"


def _read(environment_file: Path) -> dict[str, str]:
    try:
        return parse_environment_file(environment_file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{environment_file}: cannot be read as UTF-8 text ({error})") from error


def _required(name: str, source: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(
            f"{name} is not set in {source}: add it, or give --env-file /etc/deltacrown/<deployment>.env"
        )
    return value


def _endpoint(value: str | None, source: str) -> str | None:
    if not value:
        return None
    found = _PLAIN_URL.fullmatch(value)
    if found is None or not 0 < int(found["port"] or 443) < 2**16:
        raise SettingsError(
            f"AWS_ENDPOINT_URL_S3 {value!r} of {source} is no plain URL: write https:// and the host, with its port if "
            "it has one, and nothing after it"
        )
    return value


def _role(arn: str | None) -> str | None:
    if arn is not None and not _ROLE_ARN.fullmatch(arn):
        raise SettingsError(f"--role-arn {arn!r} is no ARN of a role: write arn:aws:iam::<account>:role/<name>")
    return arn


def _directory(value: str, source: str) -> Path:
    path = Path(value)
    if not path.is_dir():
        raise SettingsError(f"MEDIA_ROOT {value} of {source} is no directory on this machine: is the export mounted?")
    return path
