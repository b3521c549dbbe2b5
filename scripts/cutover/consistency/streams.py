"""Two sorted streams read side by side, and streams that are read ahead."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from cutover.consistency.errors import ConsistencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from cutover.catalogue import CatalogueKey
    from cutover.object_store import ListedObject

__all__ = ["mapped", "pairs", "read_ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_BLOCK = 1000  # items read at once, as many as a page of S3's listing has
_BLOCKS_AHEAD = 32  # some 8 MB


@contextmanager
def read_ahead(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """The same items, fetched by a thread from now on: S3 lists while the table is sorted and keys are compared."""

    def block() -> list[Item]:
        return list(islice(items, _BLOCK))

    def flattened() -> Iterator[Item]:
        while found := ahead.popleft().result():
            ahead.append(reader.submit(block))
            yield from found

    reader = ThreadPoolExecutor(max_workers=1)
    try:
        ahead = deque(reader.submit(block) for _ in range(_BLOCKS_AHEAD))
        yield flattened()
    finally:
        reader.shutdown(wait=True, cancel_futures=True)


def mapped(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`work` of each item in their order, done by threads; only a few results wait, however many items there are."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def pairs(
    rows: Iterable[CatalogueKey], objects: Iterator[ListedObject]
) -> Iterator[tuple[CatalogueKey | None, ListedObject | None]]:
    """Each key's row and object, None for what is not there. Two rows of one key get the same object.

    Both come in the order of the keys' UTF-8 bytes, which is that of Python's strings (both sort by code point).

    Raises:
        ConsistencyError: a stream is not in this order, so that keys would be paired wrongly.
    """
    found = next(objects, None)
    paired, last_row = False, ""
    for row in rows:
        if row.key < last_row:
            raise ConsistencyError(f"the table's names are not sorted by their bytes at {row.key!r}: nothing follows")
        last_row = row.key
        while found is not None and found.key < row.key:
            if not paired:
                yield None, found
            found, paired = _next(objects, found), False
        paired = found is not None and found.key == row.key
        yield row, found if paired else None
    while found is not None:
        if not paired:
            yield None, found
        found, paired = _next(objects, found), False


def _next(objects: Iterator[ListedObject], last: ListedObject) -> ListedObject | None:
    found = next(objects, None)
    if found is not None and found.key <= last.key:
        raise ConsistencyError(f"the bucket's listing is not sorted by bytes at {found.key!r}: nothing follows")
    return found
