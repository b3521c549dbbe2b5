"""Repair of one certificate whose copies disagree; what is replaced in S3 stays as an old version.

A mark is taken back only where the object behind it is wrong and cannot be replaced, and set only after all files of
the row are proven in S3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutover import local_files, plan
from cutover.consistency.diagnosis import Action, diagnose
from cutover.consistency.errors import ConsistencyError, RefusedError
from cutover.consistency.local_copy import replace
from cutover.consistency.sample import SampledFile
from cutover.consistency.witnesses import Testimonies
from cutover.object_store import ObjectStore, ObjectStoreError
from cutover.uploads import Uploader, examine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.catalogue import Catalogue, Certificate
    from cutover.consistency.diagnosis import Diagnosis, Trust
    from cutover.settings import Settings

__all__ = ["Repair"]

_CONNECTIONS = 2  # one certificate has two files
_BLOCK = 1 << 20  # bytes of an object read at once


class Repair:
    """Diagnoses and repairs rows, one at a time; every method raises ObjectStoreError if S3 could not be asked."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings, self._catalogue = settings, catalogue
        self._store = ObjectStore(settings, "repair", connections=_CONNECTIONS)
        self._witnesses = Testimonies(settings, self._store, download=True)

    def diagnose(self, row: Certificate, trust: Trust | None) -> list[Diagnosis]:
        """What each file of the row needs, by its witnesses now.

        Raises:
            RefusedError: a name can be no key, or another row owns one of its files, too, so that no repair can be
                right for both.
        """
        for file in row.files:
            _check_name(row, file.key)
        owners = self._catalogue.by_keys([file.key for file in row.files])
        if len(owners) > 1:
            ids = " and ".join(str(owner.id) for owner in owners)
            raise RefusedError(f"certificates {ids} own one file: give one of them its own, then repair both")
        files = [SampledFile(file.key, row.id, file.is_pdf, row.certificate_hash) for file in row.files]
        return [diagnose(self._witnesses.of(file), trust) for file in files]

    def execute(self, row: Certificate, diagnoses: Sequence[Diagnosis]) -> bool:
        """Does what can be done, and marks the row if all its files are then right in S3; whether they are.

        Raises:
            ConsistencyError: a file changed since its diagnosis.
            ObjectStoreError: S3 refused an upload; a mark whose object is wrong was taken back.
            OSError: a local file cannot be written.
        """
        for diagnosis in diagnoses:
            if diagnosis.action is Action.UPLOAD:
                self._upload(row, diagnosis)
            elif diagnosis.action is Action.RESTORE:
                self._restore(diagnosis)
        if any(diagnosis.action is Action.REFUSED for diagnosis in diagnoses):
            return False
        for before in diagnoses:
            after = diagnose(self._witnesses.of(before.testimony.file), None)
            if after.action is not Action.NOTHING or after.sha256 != before.sha256:
                return False
        return bool(self._catalogue.mark([row]))

    def _upload(self, row: Certificate, diagnosis: Diagnosis) -> None:
        hold = plan.load().data_tools.streamed_above_bytes
        try:
            file = local_files.read(self._settings.media_root, diagnosis.key, hold=hold)
        except local_files.ChangedWhileReadError as error:
            raise _changed(diagnosis) from error
        if file is None or file.sha256 != diagnosis.sha256:
            raise _changed(diagnosis)
        uploader = Uploader(self._settings, "repair", encrypt=examine(self._settings).encrypts)
        try:
            uploader.put(file, replace=True)
        except local_files.ChangedWhileReadError as error:
            raise _changed(diagnosis) from error
        except ObjectStoreError:
            self._catalogue.unmark(row)  # else customers are sent to an object that is known to be wrong
            raise

    def _restore(self, diagnosis: Diagnosis) -> None:
        def accept(sha256: str) -> None:
            if sha256 != diagnosis.sha256:
                raise _changed(diagnosis)

        try:
            answer = self._store.client.get_object(Bucket=self._settings.bucket, Key=diagnosis.key)
            blocks = answer["Body"].iter_chunks(_BLOCK)
            replace(self._settings.media_root, diagnosis.key, blocks, accept)
        except (ClientError, BotoCoreError) as error:
            raise self._store.error(diagnosis.key, error) from error


def _check_name(row: Certificate, key: str) -> None:
    """S3 is not asked for what can be no key: its answer would be about the request, not about the name."""
    try:
        local_files.check_name(key)
    except local_files.UnsafeNameError as error:
        raise RefusedError(f"certificate {row.id}: unsafe name: {error}") from error
    if not key.startswith(local_files.PREFIX):
        raise RefusedError(
            f"certificate {row.id}: unsafe name: {key!r} does not begin with {local_files.PREFIX}: correct the row"
        )


def _changed(diagnosis: Diagnosis) -> ConsistencyError:
    return ConsistencyError(f"{diagnosis.key!r} was changed since its diagnosis, and is left alone: run again")
