"""`cutover daily` on a real table, bucket, chain and log group: one record a day, and none of what was not measured."""

from __future__ import annotations

import io
import json
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cutover import cli, names, plan
from cutover.consistency import confirm
from cutover.evidence import chain as chains
from cutover.telemetry import measurement_line, metric_line
from infra.operators import readonly_policy
from rehearsal import monitoring_stand_in
from tests.data_tools.account import LOG_GROUP_ARN
from tests.data_tools.certificate_site import PDF
from tests.unit.evidence.documents import step

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data_tools.account import Account
    from tests.data_tools.certificate_site import Row, Site

GROUP = LOG_GROUP_ARN.rpartition("log-group:")[2]
TABLE = plan.load()
SAVED = TABLE.metrics["save_success"]
STEP = TABLE.steps[9]
ALSO = ("local_copies_present", "cost_within_budget")
SAMPLE = 10  # of the runbook's daily checks


@pytest.fixture(autouse=True)
def nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for rows that may still come."""
    monkeypatch.setattr(confirm, "SETTLE_SECONDS", 0)


class Soak:
    """A site in its soak: twelve certificates in S3, step 8's PASS a minute ago, and web1 that delivers its lines."""

    def __init__(self, site: Site, account: Account, directory: Path) -> None:
        self.site, self.logs, self.directory = site, account.aws.logs(), directory
        self.rows: list[Row] = [site.add(PDF + bytes([number]), marked=True) for number in range(12)]
        site.store_files(*self.rows)
        begun = datetime.fromtimestamp(time.time() - 60, UTC)
        chains.append(directory, step(8, started_at=f"{begun:%Y-%m-%dT%H:%M:%SZ}"))
        probed = measurement_line(TABLE.measurements["probe_put_ms"], 1)
        for line in (probed, metric_line(SAVED, 1), probed):
            self.deliver("web1", line)

    def deliver(self, machine: str, line: str) -> None:
        """A machine's next line."""
        with suppress(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_group(logGroupName=GROUP)
        with suppress(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_stream(logGroupName=GROUP, logStreamName=machine)
        time.sleep(0.01)  # a time of its own
        event: Any = {"timestamp": int(time.time() * 1000), "message": line}
        self.logs.put_log_events(logGroupName=GROUP, logStreamName=machine, logEvents=[event])

    def daily(self, *arguments: str, machines: tuple[str, ...] = ("web1",)) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of the command, in this process."""
        command = ["daily", "--json", "--directory", str(self.directory), "--log-group", GROUP, "--machine", *machines]
        role = ["--role-arn", self.site.roles.readonly]
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
            code = cli.main([*command, *role, *arguments])
        return code, output.getvalue(), errors.getvalue()


@pytest.fixture
def soak(site: Site, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Soak:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", account.aws.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("AWS_ENDPOINT_URL_CE", "http://127.0.0.1:9")
    for found in account.aws.logs().describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]:
        account.aws.logs().delete_log_group(logGroupName=found["logGroupName"])
    return Soak(site, account, tmp_path / "chain")


def test_a_good_day_is_one_record_that_can_be_sealed(soak: Soak) -> None:
    code, said, complained = soak.daily("--in-soak")
    assert code == 0, complained
    record = json.loads(said)
    assert (record["kind"], record["verdict"], record["deployment"]) == ("daily", "PASS", STEP.deployment)
    assert record["counts"] == {SAVED: 1}
    assert record["counted"]["source"] == "delivered lines"
    assert {each["criterion"] for each in record["criteria"]} == {"keys_agree", "hashes_agree", *ALSO}
    assert (record["sample"]["rows"], record["sample"]["downloaded"]) == (SAMPLE, 2 * SAMPLE)
    assert "METRIC: cert.consistency.mismatch_ratio=0" in complained
    assert "the alarms could not be asked" in record["pages_unknown"]  # never "none"
    sealed = chains.append(soak.directory, record)
    assert sealed.file == "000002-daily-9-PASS.json"


def test_the_next_day_counts_on_from_there(soak: Soak) -> None:
    _, said, _ = soak.daily()
    chains.append(soak.directory, json.loads(said))
    soak.deliver("web1", metric_line(SAVED, 1))
    soak.deliver("web1", metric_line(SAVED, 1))
    code, said, _ = soak.daily()
    assert code == 0, said
    assert json.loads(said)["counts"] == {SAVED: 1}  # of which the newest line is left to the next


def test_pages_that_nobody_knew_are_asked_for_the_next_day(
    soak: Soak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudWatch did not answer for an hour, and the one page of the week was in it."""
    _, said, _ = soak.daily()
    unknown = json.loads(said)
    assert "pages" not in unknown
    (passed,) = chains.read(soak.directory).records
    chains.append(soak.directory, unknown)
    soak.deliver("web1", measurement_line(TABLE.measurements["probe_put_ms"], 1))
    at = datetime.fromtimestamp(time.time() - 30, UTC)  # of the day whose pages nobody knew
    incident = {"AlarmName": names.incident("production", "s3"), "AlarmType": "CompositeAlarm"}
    change = {"HistoryItemType": "StateUpdate", "HistorySummary": "Alarm updated from OK to ALARM"}
    data = json.dumps({"newState": {"stateValue": "ALARM", "stateReason": "denied"}})
    acted = {"HistoryItemType": "Action", "HistorySummary": "Successfully executed action arn:topic", "HistoryData": ""}
    with monitoring_stand_in.running(tmp_path) as monitoring:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", monitoring.endpoint_url)
        for item in (change | {"HistoryData": data}, acted):
            monitoring.note(incident | item | {"Timestamp": at.isoformat()})
        code, said, complained = soak.daily()
    assert code == 0, complained
    record = json.loads(said)
    assert [page["incident"] for page in record["pages"]] == [incident["AlarmName"]]
    assert datetime.fromisoformat(record["pages_asked"]["since"]) == passed.started_at
    assert record["counted"]["since"] == unknown["counted"]["until"]


def test_a_silence_of_yesterday_is_named_and_the_day_is_judged(soak: Soak) -> None:
    """Five minutes of one machine would start the seven days again, and no later check could do anything about it."""
    begun = datetime.fromtimestamp(time.time() - 3600, UTC)
    chains.append(soak.directory, step(8, started_at=f"{begun:%Y-%m-%dT%H:%M:%SZ}"))
    code, said, complained = soak.daily("--in-soak")
    assert code == 0, complained
    record = json.loads(said)
    assert (record["verdict"], record["counts"]) == ("PASS", {SAVED: 1})
    (gap,) = record["counted"]["gaps"]
    assert (gap["machine"], datetime.fromisoformat(gap["since"])) == ("web1", begun.replace(microsecond=0))
    assert "web1 delivered no METRIC line from " in complained
    assert "step 9 wants all its days after that. Look there, journalctl" in complained
    sealed = chains.append(soak.directory, record)
    assert sealed.record.counted is not None
    assert sealed.record.counted.gaps


def test_a_day_on_which_a_copy_differs_is_a_record_that_says_no(soak: Soak) -> None:
    """Exit code 1 without a record would be a day that nobody looked at, and tomorrow's PASS would follow it."""
    for row in soak.rows:
        soak.site.store(row.keys[0], b"%PDF-1.4 another certificate of any length")
    code, said, _ = soak.daily()
    record = json.loads(said)
    assert (code, record["verdict"]) == (1, "FAIL")
    assert "FAIL hashes_agree" in record["message"]
    assert chains.append(soak.directory, record).file == "000002-daily-9-FAIL.json"


def test_a_day_on_which_local_copies_are_gone_is_a_record_that_says_no(soak: Soak) -> None:
    """Nobody could go back to them, and seven days of PASS would say that everybody could."""
    for row in soak.rows:
        for key in row.keys:
            soak.site.path(key).unlink()
    code, said, _ = soak.daily()
    record = json.loads(said)
    assert (code, record["verdict"]) == (1, "FAIL")
    assert f"FAIL local_copies_present: measured 0 ({2 * SAMPLE} samples)" in record["message"]
    assert record["check"]["without_local"] == 2 * len(soak.rows)


def test_local_copies_that_were_retired_are_not_asked_for(soak: Soak, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mode settled every day would fail; an image's object has no second witness then, and counts for nothing."""
    monkeypatch.setenv(TABLE.variables["backfill"], "false")
    for row in soak.rows:
        for key in row.keys:
            soak.site.path(key).unlink()
    code, said, complained = soak.daily()
    assert code == 0, complained
    record = json.loads(said)
    measured = {each["criterion"]: (each["measured"], each["samples"]) for each in record["criteria"]}
    assert "local_copies_present" not in measured
    assert measured["hashes_agree"] == (1, SAMPLE)
    assert record["sample"]["unproven"] == SAMPLE


def test_journals_are_counted_where_they_are_given(soak: Soak, tmp_path: Path) -> None:
    """The playbook brings them; then CloudWatch is not asked."""
    worker = {"metrics": {SAVED: 5}, "server_errors": 0, "first_complaint": ""}
    window = {"since": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z", "fallbacks": []}
    file = tmp_path / "journals.json"
    file.write_text(json.dumps({"web1": {"units": {"u": worker}, **window}}))
    code, said, complained = soak.daily("--journals", str(file), "--log-group", "/nowhere")
    assert code == 0, complained
    record = json.loads(said)
    assert record["counts"] == {SAVED: 5}
    begin, end = "2026-12-01T00:00:00.000000Z", "2026-12-02T00:00:00.000000Z"
    assert record["counted"] == {"source": "journals", "since": begin, "until": end}
    assert "mismatch_ratio" not in complained


def test_a_silent_machine_is_an_error_without_a_record(soak: Soak) -> None:
    code, said, complained = soak.daily(machines=("web1", "web2"))
    assert (code, said) == (4, "")
    assert f"{GROUP}: web2 delivered no METRIC line from " in complained


def test_a_role_that_may_not_search_the_lines_is_named(soak: Soak, account: Account) -> None:
    """Nobody counted anything, and the day would have no failures."""
    name = soak.site.roles.readonly.rpartition("/")[2]
    policy = readonly_policy(soak.site.bucket, soak.site.backups_bucket, LOG_GROUP_ARN)
    denied = json.dumps(policy).replace('"logs:FilterLogEvents"', '"logs:GetQueryResults"')
    account.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=denied)
    code, said, complained = soak.daily()
    assert (code, said) == (4, "")
    assert "the role needs logs:FilterLogEvents" in complained
    assert name in complained


def test_before_the_soak_nothing_is_looked_at(soak: Soak, tmp_path: Path) -> None:
    """A record of a day before step 8 would be sealed, and the unit's file must stay empty."""
    code, said, complained = soak.daily("--in-soak", "--directory", str(tmp_path / "none"), "--log-group", "/nowhere")
    assert (code, said, complained) == (0, "", "no daily check: step 8 is NOT RUN\n")


def test_a_broken_chain_ends_it(soak: Soak) -> None:
    """From where the day counts cannot be told any more."""
    (record,) = soak.directory.iterdir()
    record.write_text(record.read_text().replace("PASS", "FAIL"))
    code, said, complained = soak.daily("--in-soak")
    assert (code, said) == (4, "")
    assert "is broken at" in complained
