"""`cutover evidence copy`, and the comparison with that copy that `verify --bucket` makes."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from cutover import plan, settings
from cutover.evidence import chain as chains
from cutover.evidence import stored_copy
from cutover.exit_codes import ExitCode
from cutover.object_store import ObjectStore
from cutover.settings import SettingsError

if TYPE_CHECKING:
    import argparse

    from cutover.evidence.chain import Break, Chain
    from cutover.evidence.stored_copy import StoredCopy

__all__ = ["against_bucket", "run"]


@dataclasses.dataclass(frozen=True)
class _Both:
    """A chain that has records, and its copy in the bucket."""

    store: ObjectStore
    bucket: str
    copy: StoredCopy
    chain: Chain


def run(options: argparse.Namespace) -> int:
    """Stores what the bucket lacks, prints what that was, and returns the exit code; raises what `_compared` raises."""
    chain = chains.read(options.directory).proven()
    if chain.head is None:
        _show(options, {"verdict": "INCONCLUSIVE", "records": 0}, f"{chain.directory}: there is no record yet")
        return ExitCode.INCONCLUSIVE
    both = _compared(options, chain)
    copied, broken = _stored(both, dry_run=options.dry_run)
    document = {
        "verdict": "FAIL" if broken else "PASS",
        "where": both.copy.where,
        "records": len(both.chain.links),
        "dry_run": options.dry_run,
        "copied": copied,
        "broken": dataclasses.asdict(broken) if broken else None,
    }
    what = f"{'would store' if options.dry_run else 'stored'} {len(copied)} of {len(both.chain.links)} records"
    _show(options, document, f"{both.copy.where}: {what}")
    if broken is None:
        return ExitCode.DONE
    print(
        f"cutover: {both.copy.where} and {both.chain.directory} are not one chain, first at {broken}: nothing is "
        "stored over it; find out which of the two is right (cutover evidence verify --against COPY) before any step",
        file=sys.stderr,
    )
    return ExitCode.FAILED


def against_bucket(options: argparse.Namespace, chain: Chain) -> Break | None:
    """The first record that is missing or different in the bucket; None if that copy is the chain.

    Args:
        options: bucket (empty: the table's), env_file and role_arn, as the command line gives them.
        chain: which is whole; without records it has no copy.

    Raises:
        SettingsError: a setting is missing, or no bucket is known.
        ObjectStoreError: S3 refuses or cannot be reached.
        ChainError: the chain broke meanwhile.
    """
    if chain.head is None:
        return None
    both = _compared(options, chain)
    return both.copy.first_break(both.chain)


def _compared(options: argparse.Namespace, chain: Chain) -> _Both:
    """The copy, and the chain as it is after that look: what is sealed and copied meanwhile is no difference."""
    bucket = options.bucket or plan.load().evidence_bucket
    if bucket is None:
        raise SettingsError("ops/cutover.yml has no backups bucket: name one with --bucket")
    values = settings.load(options.env_file, role_arn=options.role_arn)
    store = ObjectStore(dataclasses.replace(values, bucket=bucket), "evidence")
    copy = stored_copy.look(store, bucket, chain.records[-1].deployment)
    return _Both(store, bucket, copy, chains.read(chain.directory).proven())


def _stored(both: _Both, *, dry_run: bool) -> tuple[list[str], Break | None]:
    """Which records were stored (or would be), oldest first, and what is there that is not of this chain."""
    stored: list[str] = []
    broken = both.copy.difference(both.chain)
    for link in both.copy.missing(both.chain) if broken is None else ():
        if not dry_run:
            broken = stored_copy.put(both.store, both.bucket, both.chain, link)
        if broken is not None:
            break
        stored.append(link.file)
    return stored, broken


def _show(options: argparse.Namespace, document: dict[str, object], sentence: str) -> None:
    print(json.dumps(document) if options.json else f"{document['verdict']} {sentence}")
