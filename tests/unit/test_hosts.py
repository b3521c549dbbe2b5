"""What prepare-hosts.yml refuses."""

from __future__ import annotations

import pytest

from cutover.hosts import environment_file_problem, uwsgi_problem

ENVIRONMENT = "DATABASE_URL=postgres://x\nAWS_STORAGE_BUCKET_NAME=b\n"
UWSGI = """[uwsgi]
# env = CERT_S3_DUAL_WRITE=true
hook-master-start = unix_signal:15 gracefully_kill_them_all
socket = fd://3
"""


def test_sound_files_have_no_problem() -> None:
    """The opposite of every refusal below; CRLF, export and quotes are repaired elsewhere."""
    assert environment_file_problem(ENVIRONMENT + "export A=1\r\nB='c d'\n") == ""
    assert uwsgi_problem(UWSGI) == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("AWS_STORAGE_BUCKET_NAME=b\n", "no line DATABASE_URL"),
        (ENVIRONMENT + b"A=\xfc\n".decode("utf-8", "surrogateescape"), "not UTF-8"),
        (ENVIRONMENT.replace("postgres://x", ""), "no line DATABASE_URL"),
        (ENVIRONMENT + "A=b\\\nCERT_S3_DUAL_WRITE=false\n", "line 3 ends in a backslash"),
    ],
)
def test_environment_file_that_cannot_carry_flags_is_refused(text: str, sentence: str) -> None:
    """A flag that is written behind such a line never reaches a process."""
    assert sentence in environment_file_problem(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (UWSGI + "env = CERT_S3_DUAL_WRITE=true\n", "invisible in /proc"),
        (UWSGI + "auto-procname = true\n", "auto-procname"),
        (UWSGI + "die-on-term = true\n", "die-on-term"),
        (UWSGI + "vacuum = true\n", "vacuum"),
        (UWSGI.replace("socket = fd://3", "socket = /run/x.sock"), "refuses connections"),
        (UWSGI.replace("hook-master-start", "hook-asap"), "requests in flight"),
    ],
)
def test_uwsgi_settings_that_hide_flags_or_fail_requests_are_refused(text: str, sentence: str) -> None:
    """With these the proof would lie, or customers would see errors at every flip."""
    assert sentence in uwsgi_problem(text)
