"""How a run ended: lines for people, or one JSON document, on standard output; and the exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from cutover.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.retirement import purge, quarantine, restore
    from cutover.retirement.archive_proof import Proof
    from cutover.retirement.proof import Left

__all__ = ["ended", "proof", "purged", "quarantined", "restore_ended", "restored"]

_STOPPED: dict[str, tuple[ExitCode, str]] = {
    "limit": (ExitCode.DONE, "as many as were asked for"),
    "window": (ExitCode.DONE, "the time window is closed: run it again, it goes on where it stopped"),
    "flag": (ExitCode.USAGE, "a flag was turned off, and customers need the local copies"),
    "restore": (ExitCode.FAILED, "a restore runs, or was killed: end it with `cutover restore`, then run again"),
    "s3": (ExitCode.ERROR, "S3 refused or answered for nothing any more: see the causes, then run again"),
    "signal": (ExitCode.INTERRUPTED, "interrupted between two files: run it again, it goes on where it stopped"),
}


def ended(stopped: str | None, left: Sequence[Left]) -> ExitCode:
    """The exit code of a run; a row that is accepted by name is left without making it fail."""
    code = ExitCode.DONE
    if stopped is not None:
        code, sentence = _STOPPED[stopped]
        print(f"cutover: stopped: {sentence}", file=sys.stderr)
    if code is ExitCode.DONE and any(one.cause != "accepted" for one in left):
        return ExitCode.FAILED
    return code


def restore_ended(summary: restore.Summary) -> ExitCode:
    """The exit code of a restore: what could not be written is not what S3 could not give."""
    unwritten = [one for one in summary.errors if one.cause == "cannot_write"]
    if summary.stopped == "disk":
        first = unwritten[0]
        print(
            f"cutover: {_quoted(first.key or '')}: {first.detail}: free the disk, then run again; no file is half",
            file=sys.stderr,
        )
        return ExitCode.CANNOT_WRITE
    code = ended(summary.stopped, summary.errors)
    return ExitCode.CANNOT_WRITE if code is ExitCode.FAILED and unwritten else code


def proof(found: Proof, *, as_json: bool) -> None:
    """An archive that was proven."""
    if as_json:
        print(found.model_dump_json())
        return
    print(f"proven: s3://{found.bucket}/{found.key}")
    print(f"{found.files} files, {found.bytes} bytes, each with the SHA-256 of the manifest ({found.manifest_sha256})")


def quarantined(summary: quarantine.Summary, *, as_json: bool, sample: bool) -> None:
    """What was put aside."""
    if as_json:
        _document(summary)
        return
    _causes(summary.left)
    what = "would be put aside" if summary.dry_run else f"put aside in {summary.directory}"
    print(f"{summary.certificates} certificates, {summary.files} files, {summary.bytes} bytes {what}")
    if sample:
        print(f"certificates: {' '.join(map(str, summary.certificate_ids))}")


def purged(summary: purge.Summary, *, as_json: bool) -> None:
    """What was deleted, or may be."""
    if as_json:
        _document(summary)
        return
    _causes(summary.left)
    print(f"{summary.eligible} files, {summary.eligible_bytes} bytes may be deleted; {summary.too_young} are too young")
    if not summary.dry_run:
        print(f"{summary.files} files, {summary.bytes} bytes deleted from {summary.directory}")


def restored(summary: restore.Summary, *, as_json: bool) -> None:
    """What was brought back."""
    if as_json:
        _document(summary)
        return
    _causes(summary.errors)
    would = "would be " if summary.dry_run else ""
    print(
        f"{summary.from_quarantine} files {would}taken back from {summary.directory}, {summary.from_s3} {would}"
        f"downloaded, {summary.bytes} bytes; {summary.already_local} were there"
    )


def _causes(left: Sequence[Left]) -> None:
    accepted = {one.certificate_id for one in left if one.cause == "accepted"}
    for one in left:
        if one.cause != "accepted":
            owner = "" if one.certificate_id is None else f"certificate {one.certificate_id}: "
            print(f"{owner}{_quoted(one.key or 'its files')}: {one.cause}: {_quoted(one.detail)}")
    if accepted:
        print(f"{len(accepted)} accepted, not migrated")


def _quoted(text: str) -> str:
    """As a backfill does: a line break in a name must not make a line of its own, nor a code change the terminal."""
    return text if text.isprintable() else repr(text)


def _document(summary: quarantine.Summary | purge.Summary | restore.Summary) -> None:
    print(json.dumps(dataclasses.asdict(summary)))
