"""The copy of a chain in the backups bucket: what it lacks, where it differs, and how a record gets there.

A record is stored under a key that has no object yet, or not at all. Whoever may write into the bucket could store
another one first, so what is there is compared, by S3's own SHA-256, before anything is added.
"""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutover import names
from cutover.evidence.chain import Break

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.evidence.chain import Chain, Link
    from cutover.object_store import ObjectStore
    from cutover.plan import Deployment

__all__ = ["StoredCopy", "look", "put"]

_REQUESTS = 10  # at once: as many as the client keeps connections
_THERE_ALREADY = {"PreconditionFailed", "ConditionalRequestConflict"}


@dataclass(frozen=True)
class StoredCopy:
    """What the bucket has of a deployment's chain: S3's SHA-256 of each object (hexadecimal), by its file's name."""

    where: str
    sha256: Mapping[str, str]

    def missing(self, chain: Chain) -> list[Link]:
        """The records that are not in the bucket, oldest first."""
        return [link for link in chain.links if link.file not in self.sha256]

    def difference(self, chain: Chain) -> Break | None:
        """The first object that is no record of this chain; None if each is one."""
        own = {link.file: link.sha256 for link in chain.links}
        for file, found in sorted(self.sha256.items()):
            if file not in own:
                return Break(file, f"it in {chain.directory}, as {self.where} has it", "no such file")
            if found != own[file]:
                return Break(file, f"SHA-256 {own[file]} in {self.where}, as in {chain.directory}", found)
        return None

    def first_break(self, chain: Chain) -> Break | None:
        """The first record that is missing or different in the bucket; None if the copy is the chain."""
        lacking = (Break(link.file, f"it in {self.where}", "no such object") for link in self.missing(chain))
        found = filter(None, (self.difference(chain), next(lacking, None)))
        return min(found, key=lambda problem: problem.file, default=None)


def look(store: ObjectStore, bucket: str, deployment: Deployment) -> StoredCopy:
    """What the bucket holds of this deployment's chain.

    Raises:
        ObjectStoreError: S3 refuses or cannot be reached.
    """
    prefix = names.evidence(deployment)
    keys = [found.key for found in store.list(prefix)]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        hashes = list(pool.map(store.sha256, keys))
    found = {key.removeprefix(prefix): sha256 for key, sha256 in zip(keys, hashes, strict=True) if sha256}
    return StoredCopy(f"s3://{bucket}/{prefix}", found)


def put(store: ObjectStore, bucket: str, chain: Chain, link: Link) -> Break | None:
    """Stores one record that the bucket does not have; the other one if somebody stored another meanwhile.

    S3 compares the bytes with the SHA-256 that the chain has of them; that checksum is also what a bucket with
    object lock asks for, whose default retention then keeps the object.

    Raises:
        ObjectStoreError: S3 refuses or cannot be reached.
        OSError: the record's file cannot be read.
    """
    key = f"{names.evidence(link.record.deployment)}{link.file}"
    try:
        store.client.put_object(
            Bucket=bucket,
            Key=key,
            Body=(chain.directory / link.file).read_bytes(),
            ChecksumSHA256=base64.b64encode(bytes.fromhex(link.sha256)).decode(),
            ContentType="application/json",
            IfNoneMatch="*",
        )
    except (ClientError, BotoCoreError) as error:
        taken = isinstance(error, ClientError) and error.response["Error"].get("Code") in _THERE_ALREADY
        found = store.sha256(key) if taken else None
        if found is None:
            raise store.error(key, error) from error
        return StoredCopy(f"s3://{bucket}/{key}", {link.file: found}).difference(chain)
    return None
