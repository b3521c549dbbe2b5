"""Raises and removes the whole lab, and is the handle by which the rehearsal uses it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from rehearsal import aws_stand_in
from rehearsal.lab import (
    access,
    cgroups,
    credentials,
    database,
    image,
    machine,
    machine_files,
    monitoring,
    network,
    preflight,
    reach,
    removal,
    settings,
    site,
    state,
)
from rehearsal.lab.commands import LabError, run
from rehearsal.lab.progress import timed
from rehearsal.lab.topology import (
    AWS_CERTIFICATE,
    AWS_PORT,
    DEPLOYMENTS,
    MACHINES,
    SERVICES_ADDRESS,
    STATE_DIRECTORY,
    WWW_DATA,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn
    from rehearsal.lab.progress import Progress

AWS_DIRECTORY = STATE_DIRECTORY / "aws"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def to_stderr(line: str) -> None:
    """Says a line of progress on stderr."""
    with contextlib.suppress(OSError):  # the terminal may be gone, and the lab is taken down for that reason
        print(f"lab: {line}", file=sys.stderr, flush=True)


class Lab:
    """The lab of this host; there is one at most.

    A program that called `up` holds the host's lock until `down` or `keep`. Every method raises LabError.
    """

    def __init__(
        self, progress: Progress = to_stderr, session_seconds: int = credentials.DEFAULT_SESSION_SECONDS
    ) -> None:
        self._progress = progress
        self._session_seconds = session_seconds
        self._lock = state.HostLock()

    def preflight(self) -> None:
        """Takes the host's lock, removes what a killed run left, and checks that this host can carry a lab."""
        preflight.require_root()
        self._lock.acquire()
        try:
            if (found := state.load()) is not None and found.kept:
                raise LabError("A lab was left up on this host: remove it with `make lab-down`.")
            # Before anything is measured: remains hold memory and disk.
            if removal.remaining():
                with _uninterrupted(), timed(self._progress, "removed what an earlier run left"):
                    removal.remove(self._progress)
            preflight.run_all()
        except BaseException:
            self._lock.release()
            raise

    def up(self, *, keep: bool = False) -> None:
        """Raises the lab, with `keep` to stay when this program ends; what fails or is interrupted is undone."""
        if not self._lock.held:
            self.preflight()
        try:
            with timed(self._progress, "lab up"):
                self._raise()
            if keep:
                self.keep()
        except BaseException:
            self.down()
            raise

    def keep(self) -> None:
        """Leaves the lab up when this program ends."""
        dataclasses.replace(self.state, kept=True).save()
        self._lock.release()

    def down(self) -> None:
        """Removes the lab, if there is one, and proves that nothing of it is left but the caches."""
        self._lock.acquire()
        try:
            with _uninterrupted(), timed(self._progress, "lab down"):
                removal.remove(self._progress)
        finally:
            self._lock.release()

    @property
    def state(self) -> state.State:
        """The secrets of the lab that is up; LabError if none is."""
        found = state.load()
        if found is None:
            raise LabError("No lab is up: raise one with `make lab-up`.")
        return found

    @property
    def aws(self) -> AwsStandIn:
        """The AWS stand-in, with its root credentials."""
        try:
            return aws_stand_in.load(AWS_DIRECTORY)
        except aws_stand_in.AwsStandInError as error:
            raise LabError(
                "No lab is up, or its AWS stand-in has died: `make lab-down`, then `make lab-up`."
            ) from error

    @property
    def machines_user_arn(self) -> str:
        """The ARN of the IAM user that assumes the machines' roles; the roles' trust policies must name it."""
        return self.state.machines_user_arn

    @property
    def ssh_config(self) -> Path:
        """The configuration for `ssh -F`, in which each machine has its name."""
        return access.CONFIG

    def run(self, name: str, argv: Sequence[str], *, stdin: str | None = None, seconds: float = 120.0) -> str:
        """Runs `argv` as the operator on a machine over ssh; its stdout, or LabError with its last line."""
        return run(access.command(MACHINES[name], argv), stdin=stdin, seconds=seconds)

    def power_off(self, name: str) -> None:
        """Cuts a machine's power: no process of it gets a chance to say goodbye."""
        machine.power_off(MACHINES[name])

    def power_on(self, name: str) -> None:
        """Boots a machine that was cut off, and waits until it takes logins."""
        machine.power_on(MACHINES[name])
        access.wait([MACHINES[name]])

    def _raise(self) -> None:
        with _umask(0o022):
            STATE_DIRECTORY.mkdir(mode=0o711, exist_ok=True)
            state.State.new().save()
            access.prepare()
            _make_exports()
            layers = [image.system_layer(self._progress), image.python_layer(self._progress)]
            network.up()
            with timed(self._progress, "PostgreSQL"):
                database.start(self.state.database_passwords)
            with timed(self._progress, "AWS stand-in and credentials endpoint"):
                self._start_aws()
            with timed(self._progress, "alarm store, alarm engine and pager"):
                monitoring.start(self.aws, cgroups.command_prefix("services"))
            with timed(self._progress, "application and packages for the machines"):
                layers.append(site.build(layers))
            with timed(self._progress, f"{len(MACHINES)} machines"):
                self._boot(layers)

    def _start_aws(self) -> None:
        services = cgroups.command_prefix("services")
        stand_in = aws_stand_in.start(AWS_DIRECTORY, host=SERVICES_ADDRESS, port=AWS_PORT, command_prefix=services)
        user_arn, endpoint = credentials.register(stand_in, self._session_seconds)
        dataclasses.replace(self.state, machines_user_arn=user_arn).save()
        reach.write_passwords(self.state, stand_in)
        credentials.start(endpoint, STATE_DIRECTORY, services)

    def _boot(self, layers: Sequence[Path]) -> None:
        secrets, endpoint = self.state, self.aws.endpoint_url
        certificate = (AWS_DIRECTORY / aws_stand_in.CERTIFICATE_NAME).read_text()
        for each in MACHINES.values():
            machine.mount(each, layers)
            files = settings.files(each, secrets, endpoint)
            machine_files.write(each, {AWS_CERTIFICATE: certificate, **files})
            machine.power_on(each)
        access.wait(MACHINES.values())


def _make_exports() -> None:
    for deployment in DEPLOYMENTS.values():
        deployment.export.mkdir(parents=True)
        os.chown(deployment.export, WWW_DATA, WWW_DATA)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    """Makes files readable to the machines' users whatever the caller's umask is."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignores Ctrl-C, SIGTERM and SIGHUP, so that an impatient second one does not leave half a lab.

    Elsewhere than in the main thread nothing need be done: Python interrupts that one alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {ending: signal.signal(ending, signal.SIG_IGN) for ending in ENDINGS}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
