"""What a file whose copies disagree needs, judged by its witnesses.

A PDF is proven by certificate_hash. Nothing proves a PNG: where its copies differ, a person must look at both and say
which one is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from cutover.consistency.witnesses import HASH, LOCAL, S3, S3_RECORDED

if TYPE_CHECKING:
    from cutover.consistency.suspects import Witnesses
    from cutover.consistency.witnesses import Testimony

__all__ = ["Action", "Diagnosis", "Trust", "diagnose"]

Trust = Literal["local", "s3"]

_NO_BYTES = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of an empty file
_NO_COPY = (
    "look for an older version of the object or in the archive, issue the certificate again, or accept it by name with "
    "`cutover accept`"
)
_HEX_DIGITS = 64  # of a SHA-256; a local witness may say instead why there is none


class Action(StrEnum):
    """What a file needs."""

    NOTHING = "nothing"
    UPLOAD = "upload"
    RESTORE = "restore"
    REFUSED = "refused"


@dataclass(frozen=True)
class Diagnosis:
    """What a file needs and why; `sha256` is what both copies are to have, None where nobody knows."""

    testimony: Testimony
    action: Action
    reason: str
    sha256: str | None = None

    @property
    def key(self) -> str:
        """The file's name, which is the object's key."""
        return self.testimony.file.key


def diagnose(testimony: Testimony, trust: Trust | None) -> Diagnosis:
    """Judges one file.

    Args:
        testimony: of an audit, whose S3 witness is the downloaded object.
        trust: which copy a person has found to be right; asked only where two usable copies differ and no hash decides.
    """
    said = testimony.witnesses
    if said[LOCAL] is not None and not _is_hash(said[LOCAL]):
        return Diagnosis(testimony, Action.REFUSED, f"the local file has an {said[LOCAL]}: look at it by hand")
    local, stored = _usable(said[LOCAL]), _usable(said[S3])
    if stored != said.get(S3_RECORDED, stored):
        stored = None  # S3 does not give back what it took
    right = said.get(HASH) or _unproven(local, stored, trust)
    if right is None:
        return Diagnosis(testimony, Action.REFUSED, _nobody_knows(local, stored))
    action, reason = _action(local == right, stored == right, said)
    return Diagnosis(testimony, action, reason, str(right))


def _unproven(local: str | None, stored: str | None, trust: Trust | None) -> str | None:
    """The hash to go by where none was recorded at issue: of the only copy, of both, or of the trusted one."""
    if local is None or stored is None or local == stored:
        return local or stored
    return {None: None, "local": local, "s3": stored}[trust]


def _nobody_knows(local: str | None, stored: str | None) -> str:
    if local is None and stored is None:
        return f"there is no usable copy: {_NO_COPY}"
    return (
        "the copies differ and nothing proves either: look at both, then name the right one with --trust local or "
        "--trust s3"
    )


def _action(local_is_right: bool, stored_is_right: bool, said: Witnesses) -> tuple[Action, str]:
    if local_is_right and stored_is_right:
        return Action.NOTHING, "both copies are right"
    if local_is_right:
        state = "is absent" if said[S3] is None else "is wrong"
        return Action.UPLOAD, f"the local file is right, the object {state}"
    if stored_is_right:
        state = "is absent" if said[LOCAL] is None else "is wrong"
        return Action.RESTORE, f"the object is right, the local file {state}"
    return Action.REFUSED, f"neither copy is the PDF that was issued: {_NO_COPY}"


def _usable(value: str | int | list[int] | None) -> str | None:
    """The hash of a copy that may be right: there, and not empty, which no certificate is."""
    return value if isinstance(value, str) and value != _NO_BYTES else None


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == _HEX_DIGITS
