"""The agent's stand-in: every line arrives once, in order, whatever happens to the file, the network or the program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import aws_stand_in, shipper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.aws_stand_in import AwsStandIn

GROUP = "/deltacrown/certificates/staging"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    with aws_stand_in.running(tmp_path_factory.mktemp("aws")) as running:
        running.logs().create_log_group(logGroupName=GROUP)
        yield running


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.log"


def tail_of(journal: Path) -> shipper.Tail:
    """A tail as the program makes it at its start."""
    return shipper.Tail(journal, journal.with_name("position.json"))


def read(tail: shipper.Tail) -> list[str]:
    """What is delivered in one round."""
    return [line for batch in tail.batches() for line in batch]


def append(journal: Path, text: str) -> None:
    with journal.open("a") as file:
        file.write(text)


def test_each_line_is_delivered_once(journal: Path) -> None:
    """A line that is counted twice is a failure that never was; a half one is none yet."""
    tail = tail_of(journal)
    assert read(tail) == []
    append(journal, "one\ntwo\nthr")
    assert read(tail) == ["one", "two"]
    assert read(tail) == []
    append(journal, "ee\n\n")
    assert read(tail) == ["three"]


def test_lines_that_could_not_be_delivered_come_again(journal: Path) -> None:
    """A role without its permission for an hour must not cost the hour's lines."""
    tail = tail_of(journal)
    append(journal, "one\n")
    assert next(tail.batches()) == ["one"]  # and the next batch is never asked for, as when `put` raises
    assert read(tail) == ["one"]


def test_a_restart_goes_on_where_it_stopped(journal: Path) -> None:
    """A restart of the agent must neither skip nor repeat what was logged meanwhile."""
    append(journal, "one\n")
    assert read(tail_of(journal)) == ["one"]
    append(journal, "two\n")
    assert read(tail_of(journal)) == ["two"]


@pytest.mark.parametrize("younger", ["x\n", "a younger line that is longer than everything that was there before\n"])
def test_truncation_loses_nothing(journal: Path, younger: str) -> None:
    """Rotation copies the file and truncates it: what came between the last look and the copy is in the copy alone."""
    tail = tail_of(journal)
    append(journal, "delivered before\n")
    assert read(tail) == ["delivered before"]
    append(journal, "logged just before the rotation\n")
    journal.with_name("journal.log.1").write_bytes(journal.read_bytes())
    journal.write_text(younger)
    assert read(tail) == ["logged just before the rotation", younger.rstrip("\n")]
    assert read(tail) == []


def test_truncation_while_lines_are_sent_loses_nothing(journal: Path) -> None:
    """The rotation does not wait for an answer from CloudWatch."""
    tail = tail_of(journal)
    append(journal, "sent while the file is rotated\n")
    batches = tail.batches()
    assert next(batches) == ["sent while the file is rotated"]
    append(journal, "logged meanwhile\n")
    journal.with_name("journal.log.1").write_bytes(journal.read_bytes())
    journal.write_text("")
    assert list(batches) == []
    append(journal, "afterwards\n")
    assert read(tail) == ["logged meanwhile", "afterwards"]


def test_an_older_rotated_file_is_left_alone(journal: Path) -> None:
    """At the first start nothing is known of it: yesterday's failures would page today."""
    journal.with_name("journal.log.1").write_text("yesterday\n")
    assert read(tail_of(journal)) == []
    append(journal, "today\n")
    assert read(tail_of(journal)) == ["today"]


def test_batches_keep_to_the_limits_of_put_log_events(journal: Path) -> None:
    """One request too large is refused whole, again and again, and nothing is ever delivered after it."""
    append(journal, "x" * 400_000 + "\n" + "short\n" * 10_001 + ("y" * 200_000 + "\n") * 6)
    batches = list(tail_of(journal).batches())
    assert sum(len(batch) for batch in batches) == 1 + 10_001 + 6
    assert max(len(batch) for batch in batches) == 10_000
    assert max(len(line) for batch in batches for line in batch) == 262_144 - 26
    assert max(sum(len(line) + 26 for line in batch) for batch in batches) <= 1_048_576
    assert read(tail_of(journal)) == []


def test_stream_is_made_in_a_group_that_exists(stand_in: AwsStandIn) -> None:
    """The agent makes its stream; a group that Pulumi did not make yet is an error, and no reason to make it."""
    stream = shipper.Stream(stand_in.logs(), GROUP, "web1")
    stream.put(["one", "two"])
    stream.put(["three"])
    answer = stand_in.logs().get_log_events(logGroupName=GROUP, logStreamName="web1", startFromHead=True)
    assert [event["message"] for event in answer["events"]] == ["one", "two", "three"]
    missing = shipper.Stream(stand_in.logs(), "/no/group", "web1")
    with pytest.raises(Exception, match="ResourceNotFoundException"):
        missing.put(["one"])


def test_denied_delivery_is_said_and_made_up_for(
    stand_in: AwsStandIn, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word in its journal nobody finds out why CloudWatch is silent."""
    iam = stand_in.iam()
    iam.create_user(UserName="agent")
    key = iam.create_access_key(UserName="agent")["AccessKey"]
    agent = aws_stand_in.AwsStandIn(
        stand_in.endpoint_url, key["AccessKeyId"], key["SecretAccessKey"], stand_in.pid, stand_in.ca_file
    )
    append(journal, "one\n")
    shipped = [(tail_of(journal), shipper.Stream(agent.logs(), GROUP, "web2"))]
    assert not shipper.ship(shipped)
    assert "AccessDenied" in capsys.readouterr().err
    allowed: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="agent", PolicyName="CutoverTelemetry", PolicyDocument=policy)
    assert shipper.ship(shipped)
    answer = stand_in.logs().get_log_events(logGroupName=GROUP, logStreamName="web2", startFromHead=True)
    assert [event["message"] for event in answer["events"]] == ["one"]
