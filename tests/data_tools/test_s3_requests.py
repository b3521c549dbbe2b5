"""The stand-in's own record of who asked it for what, by which the tests count S3's operations at the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.config import Config

from rehearsal import aws_stand_in
from rehearsal.s3_requests import APPLICATION, Requests

if TYPE_CHECKING:
    from pathlib import Path


def test_operations_are_told_apart_by_bucket_agent_and_time(tmp_path: Path) -> None:
    """A probe's upload that counts as the application's would prove a rollback wrong, and a missed one prove it."""
    with aws_stand_in.running(tmp_path / "aws") as stand_in:
        arguments = stand_in._client_arguments()
        config = arguments.pop("config").merge(Config(user_agent_extra=APPLICATION))
        application = aws_stand_in.clean_session().client("s3", config=config, **arguments)
        probe = stand_in.s3()
        for bucket in ("certificates", "others"):
            probe.create_bucket(Bucket=bucket)
        application.put_object(Bucket="certificates", Key="certificates/a b.pdf", Body=b"1")
        counted = Requests.from_now(tmp_path / "aws")
        assert counted.operations("certificates") == {}
        application.put_object(Bucket="certificates", Key="certificates/c.pdf", Body=b"1")
        application.head_object(Bucket="certificates", Key="certificates/c.pdf")
        application.get_object(Bucket="certificates", Key="certificates/c.pdf")["Body"].read()
        application.list_objects_v2(Bucket="certificates")
        application.delete_object(Bucket="certificates", Key="certificates/c.pdf")
        application.put_object(Bucket="others", Key="d", Body=b"1")
        probe.put_object(Bucket="certificates", Key="cutover-probe/e", Body=b"1")
        found = counted.operations("certificates")
    one_of_each = dict.fromkeys(("PutObject", "HeadObject", "GetObject", "DeleteObject", "GET bucket"), 1)
    assert found == one_of_each
