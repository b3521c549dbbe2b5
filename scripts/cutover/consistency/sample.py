"""A random sample of files, drawn while they stream by."""

from __future__ import annotations

import heapq
import json
import random
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["Sample", "SampledFile", "Sampler"]


class SampledFile(NamedTuple):
    """A file whose copies are hashed; `certificate_hash` is of the row's PDF."""

    key: str
    certificate_id: int
    is_pdf: bool
    certificate_hash: str


@dataclass(frozen=True)
class Sample:
    """How many files are drawn: a share of all (0 to 1), and at least so many."""

    ratio: float
    minimum: int

    @classmethod
    def parse(cls, text: str, minimum: int) -> Self:
        """Reads `1%` (of all, `minimum` at least), `100%`, `0`, or a number of files.

        Raises:
            ValueError: it is none of them.
        """
        try:
            share = float(text.removesuffix("%")) / 100 if text.endswith("%") else None
            count = 0 if share is not None else int(text)
        except ValueError:
            share, count = -1.0, 0
        if count < 0 or not (share is None or 0 <= share <= 1):
            raise ValueError(f"{text!r} is no share from 0% to 100% and no number of files")
        return cls(0.0, count) if share is None else cls(share, minimum if share else 0)

    def __bool__(self) -> bool:
        """Whether anything is drawn."""
        return self.ratio > 0 or self.minimum > 0

    @property
    def whole(self) -> bool:
        """Whether every file is drawn."""
        return self.ratio == 1


class Sampler:
    """Draws from a stream of unknown length in constant memory; the same seed and stream draw the same.

    Each file gets a random number. Those below the ratio are drawn, and where they are too few, the next lowest. They
    wait in a temporary file, because a whole audit may be of millions.
    """

    def __init__(self, sample: Sample, seed: int) -> None:
        self._ratio, self._minimum = sample.ratio, sample.minimum
        self._random = random.Random(seed).random  # noqa: S311 - a sample, no secret
        self._drawn = 0
        self._next_lowest: list[tuple[float, SampledFile]] = []  # a heap of negative numbers: the highest goes first
        self._spool = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def offer(self, file: SampledFile) -> None:
        """Lets a file take part."""
        number = self._random()
        if number < self._ratio:
            self.take(file)
        elif len(self._next_lowest) < self._minimum:
            heapq.heappush(self._next_lowest, (-number, file))
        elif self._next_lowest and number < -self._next_lowest[0][0]:
            heapq.heapreplace(self._next_lowest, (-number, file))

    def take(self, file: SampledFile) -> None:
        """Draws a file without asking chance."""
        self._spool.write(json.dumps(file) + "\n")
        self._drawn += 1

    def __len__(self) -> int:
        return self._drawn + len(self._fill())

    def files(self) -> Iterator[SampledFile]:
        """What was drawn."""
        self._spool.seek(0)
        for line in self._spool:
            yield SampledFile(*json.loads(line))
        yield from self._fill()

    def _fill(self) -> list[SampledFile]:
        """The next lowest, as many as are wanting to the minimum."""
        lowest = heapq.nlargest(max(0, self._minimum - self._drawn), self._next_lowest)
        return [file for _, file in lowest]
