"""What a machine's files must be like before the cutover, judged from their text."""

from __future__ import annotations

import re

from cutover import plan

__all__ = ["environment_file_problem", "uwsgi_problem"]

_HARMFUL = {
    "auto-procname": "overwrites what /proc says of the flags",
    "die-on-term": "ends requests in flight at a restart",
    "vacuum": "removes the socket in which requests wait during a restart",
}


def environment_file_problem(text: str) -> str:
    """The first thing that makes an environment file unusable, as one sentence; empty if nothing does.

    Lines with `export`, quotes, carriage returns or comments are no problem: the machine script keeps or repairs them.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Ansible decodes what is no UTF-8
        return "is not UTF-8, and systemd refuses such a file as a whole: convert it"
    for number, line in enumerate(text.split("\n"), start=1):
        if line.rstrip("\r").endswith("\\"):
            return f"line {number} ends in a backslash and swallows the next one: write it as one line"
    for name in ("DATABASE_URL", "AWS_STORAGE_BUCKET_NAME"):
        if not re.search(rf"^[ \t]*{name}[ \t]*=[ \t]*\S", text, re.MULTILINE):
            return f"has no line {name}=…, which the application needs: add it"
    return ""


def uwsgi_problem(ini: str) -> str:
    """The first uWSGI setting that hides flags or fails requests at a restart, as one sentence; empty if none does."""
    options = [
        (key.strip(), value.strip())
        for key, sign, value in (line.partition("=") for line in ini.splitlines())
        if sign and not key.lstrip().startswith(("#", ";"))
    ]
    names = {key for key, _ in options}
    variables = plan.load().variables.values()
    for key, value in options:
        if key == "env" and value.partition("=")[0].strip() in variables:
            return f"`env = {value}` wins over the environment files and is invisible in /proc: remove it"
    for name, harm in _HARMFUL.items():
        if name in names:
            return f"`{name}` {harm}: remove it"
    if ("hook-master-start", "unix_signal:15 gracefully_kill_them_all") not in options:
        return (
            "add `hook-master-start = unix_signal:15 gracefully_kill_them_all`, or a restart fails requests in flight"
        )
    if ("socket", "fd://3") not in options:
        return "add `socket = fd://3` (the systemd socket), or a restart refuses connections"
    return ""
