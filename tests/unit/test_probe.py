"""The probe: what it measures, what it says of the workers, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover import plan, probe, settings, telemetry
from cutover.probe_store import ProbeError, ProbeStore
from rehearsal import aws_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.aws_stand_in import AwsStandIn

BUCKET = "deltacrown-certificates-staging"
CUTOVER = str(Path(sys.executable).parent / "cutover")
VARIABLES = {"dual_write": "CERT_S3_DUAL_WRITE", "read_primary": "CERT_S3_READ_PRIMARY"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        running.s3().create_bucket(Bucket=BUCKET)
        yield running


def environment_file(tmp_path: Path, endpoint_url: str, *, key: tuple[str, str] = ("any", "any"), **more: str) -> Path:
    values = {
        "MEDIA_ROOT": str(tmp_path),
        "AWS_STORAGE_BUCKET_NAME": BUCKET,
        "AWS_ENDPOINT_URL_S3": endpoint_url,
        "AWS_ACCESS_KEY_ID": key[0],
        "AWS_SECRET_ACCESS_KEY": key[1],
        **more,
    }
    path = tmp_path / "staging.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return path


def of_stand_in(tmp_path: Path, aws: AwsStandIn, key: tuple[str, str] | None = None) -> Path:
    root = aws.access_key, aws.secret_key
    return environment_file(tmp_path, aws.endpoint_url, key=key or root, AWS_CA_BUNDLE=str(aws.ca_file))


def cleaned() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CERT_"))}


def run(*arguments: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    result = subprocess.run(
        [CUTOVER, "probe", *arguments], env=cleaned(), capture_output=True, text=True, timeout=60, check=False
    )
    return result.returncode, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_a_round_measures_each_operation_with_each_size(aws: AwsStandIn, tmp_path: Path) -> None:
    """Alarms on latency that read lines nobody writes are quiet for ever."""
    code, lines, _ = run("--env-file", of_stand_in(tmp_path, aws), "--once")
    assert code == 0
    names = [plan.load().measurements[measure] for measure in ("probe_put_ms", "probe_sign_ms", "probe_get_ms")]
    assert [line["metric_name"] for line in lines] == names * 2
    assert all(line["value"] > 0 for line in lines)
    stored = aws.s3().list_objects_v2(Bucket=BUCKET)["Contents"]
    prefix = f"cutover-probe/{socket.gethostname()}"
    assert {item["Key"]: item["Size"] for item in stored} == {f"{prefix}/20000": 20000, f"{prefix}/500000": 500000}


def test_lines_are_what_the_metric_filters_take(aws: AwsStandIn, tmp_path: Path) -> None:
    """A line that no filter matches is "no telemetry" at night, although the probe runs."""
    from cutover.alarms import patterns

    _, lines, _ = run("--env-file", of_stand_in(tmp_path, aws), "--once")
    text = json.dumps(lines[0])
    assert telemetry.parse_metric(text) == ("cert.s3.probe.put_ms", lines[0]["value"])
    assert patterns.compile_pattern('{ $.metric_name = "cert.s3.probe.put_ms" }').match(text)
    assert patterns.compile_pattern(f'"{plan.load().telemetry.any_line}"').match(text)


def test_a_denied_upload_is_a_line_and_an_exit_code(aws: AwsStandIn, tmp_path: Path) -> None:
    """A probe that dies at the first failure of S3 leaves the failure unmeasured."""
    aws.iam().create_user(UserName="powerless")
    key = aws.iam().create_access_key(UserName="powerless")["AccessKey"]
    file = of_stand_in(tmp_path, aws, (key["AccessKeyId"], key["SecretAccessKey"]))
    code, lines, _ = run("--env-file", file, "--once")
    assert code == 1
    assert [(line["metric_name"], line["value"], line["operation"]) for line in lines] == [
        (probe.FAILURE, 1, "put")
    ] * 2
    assert "AccessDenied" in lines[0]["cause"]


def test_failures_do_not_end_the_loop_and_sigterm_does(tmp_path: Path) -> None:
    """An S3 that is away for a minute must not take the telemetry away for good."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    command = [CUTOVER, "probe", "--env-file", str(environment_file(tmp_path, address)), "--interval", "0.1"]
    with subprocess.Popen(command, env=cleaned(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first_rounds = [json.loads(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    assert {line["metric_name"] for line in first_rounds} == {probe.FAILURE}


def test_sigterm_does_not_wait_for_a_hanging_s3(tmp_path: Path) -> None:
    """A restart of the machine's units would wait for time-outs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [CUTOVER, "probe", "--env-file", str(environment_file(tmp_path, address))]
        with subprocess.Popen(command, env=cleaned(), stdout=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=1) == 0
            connection.close()


def test_without_a_bucket_it_says_so(tmp_path: Path) -> None:
    """A probe that starts without settings would fail every ten seconds with a riddle."""
    file = tmp_path / "staging.env"
    file.write_text(f"MEDIA_ROOT={tmp_path}\n")
    code, lines, said = run("--env-file", file, "--once")
    assert (code, lines) == (2, [])
    assert said.count("\n") == 1
    assert "AWS_STORAGE_BUCKET_NAME is not set" in said


class Recorder(BaseHTTPRequestHandler):
    """Keeps objects, and what was asked."""

    protocol_version = "HTTP/1.1"  # answers "Expect: 100-continue"
    requests: list[tuple[str, str, str]]
    objects: dict[str, bytes]

    def do_PUT(self) -> None:
        self._note()
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        body = self.objects[self.path.partition("?")[0]]
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _note(self) -> None:
        self.requests.append((self.command, self.headers["Range"] or "", self.headers["User-Agent"]))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_its_calls_can_be_told_from_customers_and_read_with_a_ranged_get(tmp_path: Path) -> None:
    """S3's access log would count the probe as customers; a HEAD is refused by a GET's signature."""
    Recorder.requests, Recorder.objects = [], {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, _, _ = run("--env-file", environment_file(tmp_path, f"http://127.0.0.1:{server.server_port}"), "--once")
        server.shutdown()
    assert code == 0
    assert [(method, span) for method, span, _ in Recorder.requests] == [
        ("PUT", ""),
        ("GET", "bytes=0-19999"),
        ("PUT", ""),
        ("GET", "bytes=0-499999"),
    ]
    assert all("deltacrown-cutover-probe" in agent for *_, agent in Recorder.requests)


@pytest.fixture
def store(aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProbeStore:
    file = of_stand_in(tmp_path, aws)
    for name, value in settings.parse_environment_file(file.read_text()).items():
        monkeypatch.setenv(name, value)
    return ProbeStore(settings.load(file))


def test_other_bytes_than_those_stored_are_a_failure(store: ProbeStore) -> None:
    """A quick answer with a customer's wrong certificate would count as health."""
    store.put("cutover-probe/m/1", b"stored")
    with pytest.raises(ProbeError, match="6 bytes came that are not the 6 just stored"):
        store.get(store.sign("cutover-probe/m/1"), b"wanted")


def test_a_refused_url_names_s3s_reason_and_not_the_signature(store: ProbeStore) -> None:
    """A URL in the log opens the object to who reads the log."""
    store.put("cutover-probe/m/1", b"stored")
    with pytest.raises(ProbeError, match=r"^HTTP 403 SignatureDoesNotMatch$"):
        store.get(store.sign("cutover-probe/m/1")[:-4] + "0000", b"stored")


def test_authorities_that_cannot_be_read_are_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call would fail with an error of the TLS library that names no setting."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    with pytest.raises(settings.SettingsError, match=r"AWS_CA_BUNDLE .*absent\.pem"):
        ProbeStore(settings.Settings(tmp_path, BUCKET, "us-east-1", None, tmp_path))


def process(proc: Path, pid: int, unit: str, *environment: str) -> Path:
    (proc / str(pid)).mkdir()
    slice_ = r"/system.slice/system-deltacrown\x2duwsgi.slice"
    (proc / str(pid) / "cgroup").write_text(f"12:pids:{slice_}/{unit}\n1:name=systemd:{slice_}/{unit}\n")
    (proc / str(pid) / "environ").write_bytes("".join(f"{entry}\0" for entry in environment).encode())
    return proc / str(pid)


def test_share_of_the_processes_that_hold_a_flag(tmp_path: Path) -> None:
    """A dashboard that shows the mode of the files shows nothing of what runs."""
    on, off = "deltacrown-uwsgi@worker1.service", "deltacrown-uwsgi@worker2.service"
    process(tmp_path, 11, on, "CERT_S3_DUAL_WRITE=True", "CERT_S3_READ_PRIMARY=false")
    process(tmp_path, 12, on, "CERT_S3_DUAL_WRITE=true", "CERT_S3_READ_PRIMARY=false")
    process(tmp_path, 13, off, "CERT_S3_DUAL_WRITE=false", "CERT_S3_READ_PRIMARY=false")
    process(tmp_path, 14, "cron.service", "PATH=/bin")
    assert probe.worker_flags(VARIABLES, tmp_path) == {"dual_write": 0.6667, "read_primary": 0.0}


def test_a_process_without_the_flag_proves_nothing(tmp_path: Path) -> None:
    """Unproven shown as off sends the operator to flip what is on."""
    process(tmp_path, 11, "deltacrown-uwsgi@worker1.service", "CERT_S3_DUAL_WRITE=true", "CERT_S3_READ_PRIMARY=true")
    process(tmp_path, 12, "deltacrown-uwsgi@worker1.service", "CERT_S3_READ_PRIMARY=true")
    assert probe.worker_flags(VARIABLES, tmp_path) == {"read_primary": 1.0}


def test_no_worker_is_no_share(tmp_path: Path) -> None:
    """A machine whose workers are down must not read as "all off"."""
    process(tmp_path, 14, "cron.service", "CERT_S3_DUAL_WRITE=true")
    assert probe.worker_flags(VARIABLES, tmp_path) == {}


def test_an_unreadable_process_proves_nothing_and_an_ended_one_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another user the probe sees no environment, and during a restart processes vanish under its hands."""
    process(tmp_path, 11, "deltacrown-uwsgi@worker1.service", "CERT_S3_DUAL_WRITE=true", "CERT_S3_READ_PRIMARY=true")
    (process(tmp_path, 12, "deltacrown-uwsgi@worker1.service") / "environ").unlink()
    assert probe.worker_flags(VARIABLES, tmp_path) == {"dual_write": 1.0, "read_primary": 1.0}

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert probe.worker_flags(VARIABLES, tmp_path) == {}
