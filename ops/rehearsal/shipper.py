"""Takes the CloudWatch agent's place on the rehearsal's machines: ships a file's new lines to a log group.

The lab installs it under the agent's unit name; it reads the agent's configuration file and does what the agent does
with `logs.logs_collected.files.collect_list`. It runs on a machine, with that machine's credentials, beside nothing of
this project; so it imports boto3 alone. Lines are delivered at least once: those of a request whose answer was lost
are sent again.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_logs.client import CloudWatchLogsClient

AGENT = Path("/opt/aws/amazon-cloudwatch-agent")
CONFIGURATION = AGENT / "etc/amazon-cloudwatch-agent.d/deltacrown.json"
POSITIONS = AGENT / "logs/state"
POLL_SECONDS = 1.0
LONGEST_PAUSE = 8.0  # seconds between attempts while deliveries fail
# Limits of PutLogEvents: an event counts as its bytes and 26 more (docs.aws.amazon.com, API_PutLogEvents).
EVENTS_A_BATCH = 10_000
BYTES_A_BATCH = 1_048_576
BYTES_AN_EVENT = 26
LONGEST_LINE = 262_144 - BYTES_AN_EVENT
FINGERPRINT = 256  # bytes before the position: times and counters make them differ in another file
GONE = "ResourceNotFoundException"
EXISTS = "ResourceAlreadyExistsException"


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a file is delivered: the offset after the last delivered line, and the bytes before it."""

    offset: int = 0
    before: bytes = b""

    @classmethod
    def read(cls, path: Path) -> Position:
        """The position that `write` kept; the file's start if none is."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        return cls(kept["offset"], bytes.fromhex(kept["before"]))

    def after(self, line: bytes) -> Position:
        """The position behind this line. It is not read again: the file may have been truncated meanwhile."""
        return Position(self.offset + len(line), (self.before + line)[-FINGERPRINT:])

    def write(self, path: Path) -> None:
        """Keeps the position; whoever is killed meanwhile leaves the old or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"offset": self.offset, "before": self.before.hex()}), encoding="utf-8")
        part.replace(path)

    def is_in(self, file: Path) -> bool:
        """Whether the file still is the one that was read up to here, and no younger one in its place."""
        try:
            with file.open("rb") as opened:
                opened.seek(self.offset - len(self.before))
                return opened.read(len(self.before)) == self.before
        except FileNotFoundError:
            return False


class Tail:
    """The lines of one file that are not delivered yet. A rotated file's rest is looked for in `<file>.1`."""

    def __init__(self, file: Path, position_file: Path) -> None:
        self._file = file
        self._position_file = position_file
        self._position = Position.read(position_file)

    def batches(self) -> Iterator[list[str]]:
        """Gives the next lines; those of a batch count as delivered when the following one is asked for."""
        if not self._position.is_in(self._file):
            rotated = self._file.with_name(f"{self._file.name}.1")
            if self._position.offset and self._position.is_in(rotated):
                yield from self._rest_of(rotated)
            self._move_to(Position())
        yield from self._rest_of(self._file)

    def _rest_of(self, file: Path) -> Iterator[list[str]]:
        if not file.exists():
            return
        with file.open("rb") as opened:
            opened.seek(self._position.offset)
            batch: list[str] = []
            size, position = 0, self._position
            while (line := opened.readline()).endswith(b"\n"):  # a line without end is still being written
                text = line[:-1][:LONGEST_LINE].decode("utf-8", errors="replace")
                needed = len(text.encode()) + BYTES_AN_EVENT
                if batch and (len(batch) == EVENTS_A_BATCH or size + needed > BYTES_A_BATCH):
                    yield batch
                    self._move_to(position)
                    batch, size = [], 0
                if text.strip():  # CloudWatch takes no empty event
                    batch.append(text)
                    size += needed
                position = position.after(line)
            if batch:
                yield batch
            if position != self._position:
                self._move_to(position)

    def _move_to(self, position: Position) -> None:
        self._position = position
        position.write(self._position_file)


class Stream:
    """One log stream of a log group; the group must exist, the stream is made."""

    def __init__(self, client: CloudWatchLogsClient, group: str, stream: str) -> None:
        self._client = client
        self._names: Any = {"logGroupName": group, "logStreamName": stream}

    def put(self, lines: list[str]) -> None:
        """Delivers lines under the present time; ClientError or BotoCoreError if that fails."""
        now = int(time.time() * 1000)
        events: Any = [{"timestamp": now, "message": line} for line in lines]
        try:
            self._client.put_log_events(**self._names, logEvents=events)
        except ClientError as error:
            if error.response["Error"].get("Code") != GONE:
                raise
            self._make()
            self._client.put_log_events(**self._names, logEvents=events)

    def _make(self) -> None:
        try:
            self._client.create_log_stream(**self._names)
        except ClientError as error:
            if error.response["Error"].get("Code") != EXISTS:
                raise


def main() -> None:
    """Ships for ever; errors go to stderr, which is the unit's journal."""
    while not CONFIGURATION.exists():
        time.sleep(POLL_SECONDS)
    configuration = json.loads(CONFIGURATION.read_text(encoding="utf-8"))
    logs = configuration["logs"]
    client = boto3.Session().client(
        "logs",
        endpoint_url=logs.get("endpoint_override"),
        region_name=configuration["agent"]["region"],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
    )
    shipped = [
        (
            Tail(Path(file["file_path"]), _position_file(file)),
            Stream(client, file["log_group_name"], file["log_stream_name"]),
        )
        for file in logs["logs_collected"]["files"]["collect_list"]
    ]
    pause = POLL_SECONDS
    while True:
        pause = min(2 * pause, LONGEST_PAUSE) if not ship(shipped) else POLL_SECONDS
        time.sleep(pause)


def ship(shipped: list[tuple[Tail, Stream]]) -> bool:
    """Delivers every file's new lines; False, after a line on stderr, if some could not be delivered."""
    delivered = True
    for tail, stream in shipped:
        try:
            for batch in tail.batches():
                stream.put(batch)
        except (ClientError, BotoCoreError) as error:
            print(f"delivery failed, the lines are kept and sent again: {error}", file=sys.stderr, flush=True)
            delivered = False
    return delivered


def _position_file(file: dict[str, str]) -> Path:
    return POSITIONS / f"{file['file_path'].replace('/', '_')}.json"


if __name__ == "__main__":
    main()
