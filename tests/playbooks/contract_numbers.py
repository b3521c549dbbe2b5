"""No number of ops/cutover.yml stands in a playbook or role: whoever changes it there would not change it here."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from tests.playbooks.contract import LINES, Book
from tests.playbooks.local_play import PLAYBOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = PLAYBOOKS.parent / "ops/cutover.yml"
# A number in a text or an expression: not within a word, a version, an address, a mode (0644) or a date.
_NUMBER = re.compile(r"(?<![\w.:/#'-])(?:[1-9]\d*|0)(?:\.\d+)?(?![\w:/'-]|\.\d)(?: ?%)?")
# Counting and exit codes: not what the table is about.
_COUNTING = {0.0, 1.0}
# Not numbers of the table: a step's own number, the seconds of an hour, the hundredths of a percent, exit codes.
_ELSE = re.compile(r"\b[Ss]teps? \d+|[*/] (?:100|3600)\b|\brc(?: \| default\(\d\))?(?: not)? in \[[\d, ]+\]")
_ELSE_KEYS = {"step_number": "a step's own number", "data_command_accepts": "exit codes"}
# (file, key, number): why the number there is another one than the table's.
ALLOWED = {
    ("vars/emergency.yml", "emergency_ssh_args", 5): "seconds until a dead machine is given up",
    ("vars/emergency.yml", "emergency_ssh_args", 2): "as above",
    ("vars/emergency.yml", "emergency_waited_for_ssh_args", 2): "seconds until a dead data host is given up",
    ("parts/put_copies_back.yml", "ansible.builtin.raw", 2): "standard error",
    ("parts/put_copies_back.yml", "ansible.builtin.raw", 3): "lines of what it said",
    ("parts/put_copies_back.yml", "ansible.builtin.raw", 30): "seconds that the emergency waits for it",
    ("parts/put_copies_back.yml", "ansible.builtin.raw", 0.1): "seconds between two looks",
    ("parts/put_copies_back.yml", "ansible.builtin.raw", 300): "as above, in tenths",
    ("roles/auto_rollback/defaults/main.yml", "auto_rollback_looks", 40): "how often the proof looks",
    ("roles/auto_rollback/tasks/prove.yml", "delay", 2): "how often the proof looks",
    ("roles/auto_rollback/tasks/prove.yml", "status_code", 200): "HTTP's",
    ("roles/background_run/defaults/main.yml", "background_run_poll_seconds", 2): "how often systemd is asked",
    ("roles/background_run/defaults/main.yml", "background_run_loss_seconds", 10): "how often a machine is tried",
    ("roles/data_tools/tasks/prove.yml", "that", 3): "an exit code",
    ("roles/data_tools/vars/main.yml", "settings", 3): "an exit code",
    ("roles/evidence/tasks/bucket_copy.yml", "evidence_copy_problem", 3): "an exit code",
    ("roles/probe/defaults/main.yml", "probe_looks", 10): "how often the proof looks",
    ("roles/probe/tasks/prove.yml", "argv", 50): "lines of the journal that are read",
    ("roles/probe/tasks/prove.yml", "delay", 2): "how often the proof looks",
    ("roles/probe/tasks/prove.yml", "fail_msg", 2): "how often the proof looks",
    ("roles/soak/defaults/main.yml", "soak_restart_seconds", 5): "seconds that a worker takes to start again",
    ("roles/step/tasks/soak_days.yml", "problem", 3): "an exit code",
    ("vars/step.yml", "step_poll_seconds", 2): "seconds between two looks of a rehearsal, at least",
}


def numbers_in(book: Book) -> Iterator[tuple[str, float]]:
    """Key and value of every number that a file holds."""
    yield from _found(book.content, "")


def numbers_come_from_the_table(book: Book) -> Iterator[str]:
    """Steps, batches, sizes and seconds are read through the filter `cutover_step` and its like."""
    for key, number in numbers_in(book):
        if number in numbers_of_the_table() and (book.name, key, number) not in ALLOWED:
            yield f"{book.name}: {key} holds {number:g}, a number of ops/cutover.yml: take it from there"


def _numbers_of(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _numbers_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers_of(part)
    elif isinstance(value, str):
        if re.fullmatch(r"\d+%", value):
            yield float(value[:-1])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@cache
def numbers_of_the_table() -> frozenset[float]:
    """Every number that the table gives as a value, without zero and one."""
    return frozenset(_numbers_of(yaml.safe_load(TABLE.read_text()))) - _COUNTING


def _found(value: Any, key: str) -> Iterator[tuple[str, float]]:
    """Key and number of every number in a value, as written and as a share of one."""
    if key in _ELSE_KEYS:
        return
    if isinstance(value, dict):
        for name, part in value.items():
            if name != LINES:
                yield from _found(part, str(name))
    elif isinstance(value, list):
        for part in value:
            yield from _found(part, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, float(value)
    elif isinstance(value, str):
        yield from ((key, number) for number in _written(value))


def _written(text: str) -> Iterator[float]:
    for written in _NUMBER.findall(_ELSE.sub("", text)):
        number = float(written.rstrip(" %"))
        yield number
        if written.endswith("%"):
            yield round(number / 100, 9)
