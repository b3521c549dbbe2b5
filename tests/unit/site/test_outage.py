"""What a save costs while S3 is silent: measured on the drop-in, and on storages that a customer would wait for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import FileSystemStorage

from cutover import plan
from cutover.django.outage import CRITERION, STEP, SilentServer, measure
from cutover.exit_codes import ExitCode
from tests.unit.site.stand_in_site import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOUND = plan.load().steps[STEP].criteria[CRITERION]
# Settings of a site whose storage class is another one; the module's name and the class's body are filled in.
OTHER_SITE = """
from deltacrown.settings import *
import apps.tournaments.storage as certificates
from django.core.files.storage import FileSystemStorage

class Other(certificates.CertificateS3Storage):
    def save(self, name, content, max_length=None):
{body}

certificates.CertificateS3Storage = Other
"""
LOCAL = "        stored = self.local_storage.save(name, content, max_length=max_length)\n"
# boto3 as it comes: five attempts, a minute for each; with the waits of this test in place of the minutes.
UNBOUNDED = LOCAL + (
    "        import boto3, botocore.config\n"
    "        config = botocore.config.Config(read_timeout=1, connect_timeout=1)\n"
    "        try:\n"
    "            client = boto3.client('s3', config=config)\n"
    "            client.upload_fileobj(self.local_storage.open(stored), 'a-bucket', stored)\n"
    "        except Exception:\n"
    "            pass\n"
    "        return stored\n"
)
FORGETFUL = LOCAL + (
    "        self._attempt('save', stored, lambda: self._copy_to_s3(stored))\n"
    "        self.local_storage.delete(stored)\n"
    "        return stored\n"
)
FAILING = LOCAL + "        self.s3_storage.put(stored, b'x')\n"
NEVER_ASKS = LOCAL + "        return stored\n"


class Files(FileSystemStorage):
    """Local files, after a pause or an error."""

    def __init__(self, seconds: float = 0.0, *, fails: bool = False) -> None:
        super().__init__()
        self._seconds, self._fails = seconds, fails

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        """Keeps the file first, as the application does."""
        saved = super().save(name, content, max_length=max_length)
        time.sleep(self._seconds)
        if self._fails:
            raise OSError("no answer")
        return saved


def left(media_root: Path) -> list[Path]:
    """The files that are still there."""
    return [path for path in media_root.rglob("*") if path.is_file()]


def test_a_save_is_timed_kept_and_removed(media: Path) -> None:
    """A probe that leaves its files behind is found by the next consistency check as somebody's."""
    found = measure(Files(0.1), media)
    assert 0.2 <= found.seconds < 1  # both files of a certificate
    assert (found.kept, found.problem, found.is_borne(BOUND)) == (True, None, True)
    assert left(media) == []


def test_a_save_that_is_held_too_long_is_not_borne(media: Path) -> None:
    """Application.md's tenth: S3 away is a customer outage of eleven seconds an upload."""
    found = measure(Files(1.05), media)  # each of its two files in time, and the certificate not
    assert found.kept
    assert not found.is_borne(BOUND)
    assert left(media) == []


def test_a_save_without_an_end_is_given_up(media: Path) -> None:
    """The tool that proves that nothing hangs must not hang."""
    found = measure(Files(60), media, give_up=0.2)
    assert found.problem == "save() failed: TimeoutError: no answer within 0.2 s"
    assert not found.is_borne(BOUND)
    assert left(media) == []


def test_a_save_that_fails_is_not_borne_however_quick(media: Path) -> None:
    """An error page within two seconds is no answer."""
    found = measure(Files(fails=True), media)
    assert (found.kept, found.problem) == (False, "save() failed: OSError: no answer")  # its PNG was never tried
    assert not found.is_borne(BOUND)
    assert left(media) == []


def test_a_silent_server_takes_connections_and_says_nothing() -> None:
    """An S3 that refuses connections is a kinder outage than one that is silent."""
    import socket

    with SilentServer() as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection:
            connection.sendall(b"PUT / HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert server.asked == 1


@pytest.fixture
def media_root(tmp_path: Path) -> Iterator[Path]:
    """The MEDIA_ROOT of a process of its own, which must be left as it was."""
    directory = tmp_path / "media-of-the-process"
    directory.mkdir()
    yield directory
    assert left(directory) == []


def outage(
    environment: dict[str, str], media_root: Path, tmp_path: Path, body: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command in the site's folder, on the site or on one whose storage saves so."""
    module = "deltacrown.settings"
    if body is not None:
        module = "other_site"
        (tmp_path / "other_site.py").write_text(OTHER_SITE.format(body=body))
    file = tmp_path / "site.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{SITE}", "MEDIA_ROOT": "/nowhere"}
    return subprocess.run(
        [sys.executable, "-m", "cutover.django.outage", "--json", "--env-file", str(file)],
        cwd=SITE,
        env=variables | {"DJANGO_SETTINGS_MODULE": module, "MEDIA_ROOT": str(media_root)} | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def file_environment(environment: dict[str, str], media_root: Path) -> dict[str, str]:
    """A worker's environment file: everything is off."""
    flags = {"CERT_S3_DUAL_WRITE": "false", "CERT_S3_READ_PRIMARY": "false"}
    return environment | flags | {"MEDIA_ROOT": str(media_root)}


def test_the_drop_in_answers_in_time_and_keeps_the_file(
    file_environment: dict[str, str], media_root: Path, tmp_path: Path
) -> None:
    """The one second is a promise of a docstring until it is measured as a worker has it, flag on, S3 silent."""
    done = outage(file_environment, media_root, tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    found = json.loads(done.stdout)
    assert 0.5 < found["seconds"] < 2
    assert (found["kept"], found["problem"]) == (True, None)
    assert "METRIC" not in done.stdout + done.stderr


def test_a_proxy_does_not_answer_for_s3(file_environment: dict[str, str], media_root: Path, tmp_path: Path) -> None:
    """A proxy that refuses at once makes every client look quick."""
    done = outage(
        file_environment, media_root, tmp_path, HTTP_PROXY="http://127.0.0.1:1", http_proxy="http://127.0.0.1:1"
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    assert json.loads(done.stdout)["seconds"] > 0.5


def test_a_client_that_tries_again_and_again_fails(
    file_environment: dict[str, str], media_root: Path, tmp_path: Path
) -> None:
    """The default retries of boto3 hold each customer for all of their attempts."""
    done = outage(file_environment, media_root, tmp_path, UNBOUNDED)
    assert done.returncode == ExitCode.FAILED, done.stderr
    found = json.loads(done.stdout)
    assert found["seconds"] > 5
    assert found["kept"]


@pytest.mark.parametrize(("body", "problem"), [(FORGETFUL, ""), (FAILING, "save() failed: S3Error")])
def test_a_save_that_loses_the_file_or_fails_is_found(
    file_environment: dict[str, str], media_root: Path, tmp_path: Path, body: str, problem: str
) -> None:
    """Quick is not enough: the upload must be on the local disk, and the customer be answered."""
    done = outage(file_environment, media_root, tmp_path, body)
    assert done.returncode == ExitCode.FAILED, done.stderr
    found = json.loads(done.stdout)
    assert found["kept"] is False
    assert (found["problem"] or "").startswith(problem)


def test_a_storage_that_never_asks_s3_has_not_met_the_outage(
    file_environment: dict[str, str], media_root: Path, tmp_path: Path
) -> None:
    """Nothing is as quick as a dual-write that does not take place."""
    done = outage(file_environment, media_root, tmp_path, NEVER_ASKS)
    assert (done.returncode, done.stdout) == (ExitCode.ERROR, "")
    assert "never asked the S3 that does not answer, so nothing was measured" in done.stderr


def test_a_site_that_does_not_start_is_an_error(
    file_environment: dict[str, str], media_root: Path, tmp_path: Path
) -> None:
    """A traceback names no next step."""
    done = outage(file_environment | {"DATABASE_URL": ""}, media_root, tmp_path)
    assert (done.returncode, done.stdout) == (ExitCode.ERROR, "")
    assert "the site cannot be started (ImproperlyConfigured: DATABASE_URL is not set" in done.stderr


def test_an_interrupted_outage_leaves_nothing(
    file_environment: dict[str, str], media_root: Path, tmp_path: Path
) -> None:
    """The step is aborted just then, and a probe file lies among the certificates for ever."""
    (tmp_path / "other_site.py").write_text(OTHER_SITE.format(body=LOCAL + "        import time; time.sleep(60)\n"))
    variables = (
        os.environ | file_environment | {"DJANGO_SETTINGS_MODULE": "other_site", "PYTHONPATH": f"{tmp_path}:{SITE}"}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "cutover.django.outage"], cwd=SITE, env=variables, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 30
        while not left(media_root):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == ExitCode.INTERRUPTED
