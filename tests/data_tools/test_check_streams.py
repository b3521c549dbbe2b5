"""The parts of the check that a million keys pass through: pairing, reading ahead, drawing a sample."""

from __future__ import annotations

import datetime
import itertools
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.catalogue import CatalogueKey
from cutover.consistency import progress
from cutover.consistency.errors import ConsistencyError
from cutover.consistency.sample import Sample, SampledFile, Sampler
from cutover.consistency.streams import mapped, pairs, read_ahead
from cutover.consistency.suspects import Kind, Suspect, Suspects
from cutover.object_store import ListedObject

if TYPE_CHECKING:
    from collections.abc import Iterator

SOME_TIME = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
FILES = [SampledFile(f"certificates/{number}", number, True, "") for number in range(10_000)]
# From all planes, because UTF-16 sorts those beyond the first before its last characters.
names = st.text(st.sampled_from("a/ -é\uffee\U0001d11e"), min_size=1, max_size=3)


def key(name: str, identity: int = 1) -> CatalogueKey:
    return CatalogueKey(name, identity, True, True, SOME_TIME, "")


def by_bytes(found: set[str]) -> list[str]:
    return sorted(found, key=str.encode)


@given(st.sets(names), st.sets(names))
def test_each_key_is_paired_once(table: set[str], bucket: set[str]) -> None:
    """A merge that sorts other than PostgreSQL and S3 loses its place, and everything after it is missing."""
    rows = [key(name) for name in by_bytes(table)]
    objects = [ListedObject(name, 1) for name in by_bytes(bucket)]
    found = {(row.key if row else None, one.key if one else None) for row, one in pairs(rows, iter(objects))}
    expected = {(name if name in table else None, name if name in bucket else None) for name in table | bucket}
    assert found == expected


def test_two_rows_of_one_key_get_the_same_object() -> None:
    """The second row would be missing, and the next object an orphan."""
    objects = iter([ListedObject("a", 1), ListedObject("b", 2)])
    found = [(row and row.certificate_id, one and one.key) for row, one in pairs([key("a", 1), key("a", 2)], objects)]
    assert found == [(1, "a"), (2, "a"), (None, "b")]


@pytest.mark.parametrize(("rows", "objects"), [("ba", "ab"), ("ab", "ba"), ("", "ba"), ("ab", "aab"), ("c", "aba")])
def test_a_stream_out_of_order_is_an_error(rows: str, objects: str) -> None:
    """A server that lists folder by folder, or a database with another collation, would give missing and orphans."""
    with pytest.raises(ConsistencyError, match="not sorted"):
        list(pairs([key(name) for name in rows], iter([ListedObject(name, 1) for name in objects])))


def test_reading_ahead_keeps_order_and_bounds() -> None:
    """Two million listed objects must not wait in memory for a slow table."""
    read = itertools.count()
    with read_ahead(iter(lambda: next(read), 200_000)) as ahead:
        first = list(itertools.islice(ahead, 3))
    assert first == [0, 1, 2]
    assert next(read) < 50_000
    with read_ahead(iter(range(70_001))) as ahead:
        assert list(ahead) == list(range(70_001))


def test_reading_ahead_passes_on_what_broke() -> None:
    """A listing that breaks off in a thread must not look like its end."""

    def broken() -> Iterator[int]:
        yield from range(1500)
        raise ConsistencyError("S3 went away")

    seen: list[int] = []
    with pytest.raises(ConsistencyError, match="went away"), read_ahead(broken()) as ahead:
        seen.extend(ahead)
    assert seen == list(range(1000))


def test_work_is_spread_and_only_a_few_results_wait() -> None:
    """An audit of millions of files must not queue them all."""
    taken: list[int] = []
    both = threading.Barrier(2, timeout=10)

    def work(number: int) -> int:
        if number < 2:
            both.wait()  # nobody comes here alone
        return number * 2

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = mapped(work, numbers(), threads=4)
    assert next(results) == 0
    assert len(taken) < 20
    assert list(results) == list(range(2, 2000, 2))


def test_suspects_of_one_key_are_one_and_wait_on_disk() -> None:
    """A size and a hash of one file counted twice call for a rollback at half of the real share."""
    with Suspects() as suspects:
        suspects.add(Suspect(Kind.DIFFERENT, "b", 1, {"local_bytes": 2}, ("local", "s3")))
        suspects.add(Suspect(Kind.DIFFERENT, "a", 2))
        suspects.add(Suspect(Kind.DIFFERENT, "b", 1, {"s3": "x"}, ("s3",)))
        suspects.add(Suspect(Kind.UNMARKED_PRESENT, "b", 1))
        assert (suspects.count(Kind.DIFFERENT), suspects.keys()) == (2, 2)
        first = Suspect(Kind.DIFFERENT, "b", 1, {"s3": "x", "local_bytes": 2}, ("s3",))
        assert suspects.first(Kind.DIFFERENT, 1) == [first]
        for number in range(2500):
            suspects.add(Suspect(Kind.ORPHANED, str(number)))
        for batch in suspects.batches([Kind.ORPHANED]):
            assert len(batch) <= 1000
            suspects.drop([number for number, suspect in batch.items() if suspect.key != "7"])
        assert suspects.first(Kind.ORPHANED, 9) == [Suspect(Kind.ORPHANED, "7")]
        assert suspects.count(Kind.DIFFERENT) == 2


def test_suspects_that_find_no_room_are_no_verdict() -> None:
    """A full disk that ends in a traceback, or in fewer findings, is read as a finding or as none."""
    with Suspects() as suspects:
        suspects._database.execute("PRAGMA max_page_count = 2")
        with pytest.raises(ConsistencyError, match="free the disk, or name another TMPDIR"):
            suspects.add(Suspect(Kind.ORPHANED, "x" * 10_000))


def draw(text: str, seed: int = 1, files: list[SampledFile] = FILES) -> list[SampledFile]:
    with Sampler(Sample.parse(text, minimum=10), seed) as sampler:
        for file in files:
            sampler.offer(file)
        drawn = list(sampler.files())
        assert len(sampler) == len(drawn)
    return drawn


def test_a_share_is_drawn_and_a_few_at_least() -> None:
    """1 % of two hundred files is two, which is no sample; and 100 % that leaves one out is no audit."""
    assert 60 < len(draw("1%")) < 140
    assert len(draw("1%", files=FILES[:200])) == 10
    assert len(draw("1%", files=FILES[:7])) == 7
    assert draw("100%") == FILES
    assert len(set(draw("250"))) == 250
    assert draw("0") == draw("0%") == []


def test_a_seed_draws_the_same_again_and_another_does_not() -> None:
    """Whoever investigates must see the files of last night's report."""
    assert draw("1%", seed=5) == draw("1%", seed=5)
    assert draw("1%", seed=5) != draw("1%", seed=6)


def test_every_file_has_its_chance() -> None:
    """A sample of the first page for ever would never look at the rest."""
    drawn = {file.certificate_id // 1000 for seed in range(20) for file in draw("20", seed=seed)}
    assert drawn == set(range(10))


def test_progress_has_an_end_in_sight(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An audit of hours that says nothing is killed; the estimated total may be too low, but never the share wrong."""
    monkeypatch.setattr(progress, "_SECONDS", 0)
    monkeypatch.setattr(time, "monotonic", itertools.count(0, 30).__next__)
    with progress.Progress() as told:
        told("keys", 500, 1000)
        told("keys", 2000, 1000)
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(
        r"keys: 500/1000 \(50.0%\) - ETA: \d+ (seconds|minutes)\nkeys: 2000/2000 \(100.0%\) - ETA: 0 seconds\n", errors
    )
