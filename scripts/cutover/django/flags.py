"""The feature flags as this process got them when it started; a changed flag needs a new process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROCESS_FLAGS", "Flags"]


@dataclass(frozen=True)
class Flags:
    """The two flags that the storage class obeys; the third, for the backfill, does not concern it."""

    dual_write: bool = False
    read_primary: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Reads the flags; only the text `true`, in any case, is on."""
        return cls(
            dual_write=environment.get("CERT_S3_DUAL_WRITE", "").lower() == "true",
            read_primary=environment.get("CERT_S3_READ_PRIMARY", "").lower() == "true",
        )

    @property
    def uses_s3(self) -> bool:
        """Whether any operation may call S3."""
        return self.dual_write or self.read_primary


PROCESS_FLAGS = Flags.from_environment(os.environ)
