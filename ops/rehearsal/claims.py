"""What a rehearsal claims, each with the proof it found, and the summary."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Claim", "ClaimError", "Claims"]


class ClaimError(RuntimeError):
    """A claim does not hold; the sentence says what was seen."""


@dataclass
class Claim:
    """One sentence about the system, how long its proof took (seconds), and what was seen."""

    sentence: str
    seconds: float = 0.0
    proof: str = ""
    holds: bool | None = None


@dataclass
class Claims:
    """The claims of one rehearsal, in order."""

    started: float = field(default_factory=time.monotonic)
    entries: list[Claim] = field(default_factory=list)

    @contextmanager
    def prove(self, sentence: str) -> Iterator[Claim]:
        """Times the proof; what it raises makes the claim false and ends the rehearsal."""
        claim = Claim(sentence)
        self.entries.append(claim)
        began = time.monotonic()
        self.say(f"… {sentence}")
        try:
            yield claim
            claim.holds = True
        except KeyboardInterrupt:
            claim.proof = "interrupted"
            raise
        except BaseException as error:
            claim.holds, claim.proof = False, str(error) or type(error).__name__
            raise
        finally:
            claim.seconds = time.monotonic() - began
            self.say(f"{_sign(claim)} {sentence}  {claim.seconds:.1f} s  {claim.proof}")

    @property
    def hold(self) -> bool:
        """Whether there are claims and every one was proven."""
        return bool(self.entries) and all(claim.holds for claim in self.entries)

    def say(self, text: str) -> None:
        """One line of progress on stderr, with the seconds since the start."""
        with suppress(OSError):  # whoever listened is gone; the lab must be taken down all the same
            print(f"[{time.monotonic() - self.started:5.0f} s] {text}", file=sys.stderr, flush=True)

    def summary(self) -> str:
        """The table: a line a claim, with the first line of its proof."""
        width = max((len(claim.sentence) for claim in self.entries), default=0)
        lines = []
        for claim in self.entries:
            proof = claim.proof.partition("\n")[0]
            lines.append(f"{_sign(claim):<7} {claim.sentence:<{width}} {claim.seconds:6.1f} s  {proof}")
        return "\n".join(lines)


def _sign(claim: Claim) -> str:
    return {True: "PROVEN", False: "FALSE", None: "NOT RUN"}[claim.holds]
