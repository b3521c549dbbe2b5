"""All checks of the doctor, in the order of what depends on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.doctor import bucket, database, flags, identity, machine, permissions, runs, s3_calls, transport
from cutover.doctor.finding import Finding, Subject
from cutover.local_files import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.plan import Plan
    from cutover.settings import Settings

__all__ = ["examine"]


def examine(settings: Settings, table: Plan) -> Iterator[Finding]:
    """The findings, each as soon as it is there.

    Raises:
        SettingsError: the environment file or a run's file cannot be read.
    """
    subject = Subject.of(settings, table)
    client = s3_calls.client(settings)
    listing = s3_calls.ask(lambda: client.list_objects_v2(Bucket=settings.bucket, Prefix=PREFIX, MaxKeys=1))
    yield from transport.examine(subject, client.meta.endpoint_url, listing)
    finding, role = identity.examine(subject)
    yield finding
    needed = []
    for finding in (
        *permissions.examine(subject, client, role, listing),
        *machine.examine(subject),
        database.examine(settings),
    ):
        needed.append(finding)
        yield finding
    yield from bucket.examine(subject, client)
    yield from flags.examine(subject)
    yield from runs.examine(subject, needed)
