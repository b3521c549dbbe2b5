"""The stand-in site inside this pytest process, on a PostgreSQL and an AWS stand-in of its own.

Django knows one set of settings a process, so they are set up once, by the fixture `site`, and what that does to
the process (time zone, log handlers, import path) is taken back at once. Only tests of this folder use Django.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal import aws_stand_in
from tests.unit.site.s3_conditions import WrongServer, s3_of
from tests.unit.site.stand_in_site import BUCKET, PASSWORDS, POLICY, SITE, newest_postgresql, s3_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apps.tournaments.models import Certificate

    from cutover.django.s3_copy import S3Copy
    from cutover.django.storage import CertificateS3Storage
    from rehearsal.aws_stand_in import AwsStandIn


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """An empty PostgreSQL that listens on a socket file alone."""
    programs = newest_postgresql(Path("/usr/lib/postgresql"))
    directory = Path(tempfile.mkdtemp(prefix="site-postgresql-"))
    as_owner: list[str] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        owner = pwd.getpwnam("postgres")
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        as_owner = ["runuser", "-u", "postgres", "--"]
    data = directory / "data"

    def run(*command: str) -> None:
        subprocess.run([*as_owner, *command], check=True, stdout=subprocess.DEVNULL, cwd=directory)

    run(f"{programs}/initdb", "--no-sync", "--auth=trust", "--username=site", f"--pgdata={data}")
    options = f"-c listen_addresses= -c fsync=off -k {directory}"
    run(f"{programs}/pg_ctl", "start", "-w", "-D", str(data), "-l", str(directory / "log"), "-o", options)
    try:
        yield f"postgres://site@/postgres?host={directory}"
    finally:
        run(f"{programs}/pg_ctl", "stop", "-D", str(data), "-m", "immediate")
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    """An AWS stand-in with the bucket, and the two users of `credentials`."""
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as stand_in:
        stand_in.s3().create_bucket(Bucket=BUCKET)
        for user in ("site", "stranger"):
            stand_in.iam().create_user(UserName=user)
        stand_in.iam().put_user_policy(UserName="site", PolicyName="files", PolicyDocument=json.dumps(POLICY))
        yield stand_in
        s3_of(stand_in).close()  # the stand-in waits for open connections before it ends


@pytest.fixture(scope="session")
def environment(database_url: str, aws: AwsStandIn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The site's environment file, flags off, with the credentials of a user that may use the bucket."""
    return {
        "DATABASE_URL": database_url,
        "DJANGO_SECRET_KEY": "for-tests",
        "MEDIA_ROOT": str(tmp_path_factory.mktemp("media")),
        "AWS_STORAGE_BUCKET_NAME": BUCKET,
        "AWS_S3_REGION_NAME": aws_stand_in.REGION,
        **s3_environment(aws, "site"),
    }


@pytest.fixture(scope="session", autouse=True)
def site(environment: dict[str, str]) -> Iterator[None]:
    """Django, set up with the stand-in site's settings; tables and accounts exist."""
    handlers, time_zone = logging.root.handlers[:], os.environ.get("TZ")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SITE))
        for name, value in (environment | PASSWORDS | {"DJANGO_SETTINGS_MODULE": "deltacrown.settings"}).items():
            patch.setenv(name, value)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        logging.root.handlers[:] = handlers
        if time_zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = time_zone
        time.tzset()
        call_command("migrate", verbosity=0)
        call_command("seed_rehearsal")
        yield
        connections.close_all()


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> Iterator[Path]:
    """An empty MEDIA_ROOT, and no certificates in the table."""
    from apps.tournaments.models import Certificate
    from django.core.cache import cache
    from django.test import override_settings

    Certificate.objects.all().delete()
    cache.clear()
    with override_settings(MEDIA_ROOT=str(tmp_path)):
        yield tmp_path


@pytest.fixture
def metrics(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns, and forgets, the METRIC lines since the last call, without the common part of their names."""
    caplog.set_level(logging.INFO, logger="apps.tournaments.storage")

    def seen() -> list[str]:
        lines = [message for message in caplog.messages if message.startswith("METRIC: ")]
        caplog.clear()
        assert all(line.startswith("METRIC: cert.s3.") and line.endswith("=1") for line in lines)
        return [line.removeprefix("METRIC: cert.s3.").removesuffix("=1") for line in lines]

    return seen


@pytest.fixture(scope="session")
def copies(aws: AwsStandIn) -> Iterator[dict[str, S3Copy]]:
    """The S3 half, once for each condition of S3."""
    from django.test import override_settings

    from cutover.django.s3_copy import S3Copy

    allowed = s3_environment(aws, "site")
    wrong = http.server.ThreadingHTTPServer(("127.0.0.1", 0), WrongServer)
    threading.Thread(target=wrong.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        closed_port = closed.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        environments = {
            "up": allowed,
            "down": allowed | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{closed_port}"},
            "hanging": allowed | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{silent.getsockname()[1]}"},
            "denying": s3_environment(aws, "stranger"),
            "wrong": allowed | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{wrong.server_port}"},
        }
        made = {}
        for condition, environment in environments.items():
            with pytest.MonkeyPatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                made[condition] = S3Copy()
                _ = made[condition].client
        with override_settings(AWS_S3_ENDPOINT_URL="10.213.77.1:4566"):
            unusable = S3Copy()
        yield made | {"misconfigured": unusable}
    for copy in made.values():
        copy.client.close()
    wrong.shutdown()
    wrong.server_close()


@pytest.fixture
def storage_with(copies: dict[str, S3Copy], monkeypatch: pytest.MonkeyPatch) -> Callable[..., CertificateS3Storage]:
    """Makes the storage of a process with those flags, while S3 is in that condition."""
    from cutover.django import s3_copy
    from cutover.django.flags import Flags
    from cutover.django.storage import CertificateS3Storage

    def make(condition: str = "up", **flags: bool) -> CertificateS3Storage:
        monkeypatch.setattr(s3_copy, "shared_copy", lambda: copies[condition])
        return CertificateS3Storage(Flags(**flags))

    return make


@pytest.fixture
def certificate() -> Certificate:
    """A row without files."""
    from apps.tournaments.models import Certificate

    return Certificate.objects.create(tournament_id=1, participant_id=1, certificate_type="winner")
