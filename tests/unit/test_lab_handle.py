"""The order in which a lab is raised, how it is interrupted, and the exit codes of its commands."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from rehearsal.lab import Lab, LabError, __main__, preflight, reach, removal, state
from rehearsal.lab.lab import ENDINGS, _uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A host on which a killed run left something; the list tells what was done, in its order."""
    done: list[str] = []
    remains = ["mount /x"]

    def remove(_: object) -> None:
        remains.clear()
        done.append("remove")

    monkeypatch.setattr(state, "LOCK_FILE", tmp_path / "lock")
    monkeypatch.setattr(state, "STATE_FILE", tmp_path / "state.json")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(removal, "remaining", lambda: remains)
    monkeypatch.setattr(removal, "remove", remove)
    monkeypatch.setattr(preflight, "run_all", lambda: done.append("measure"))
    monkeypatch.setattr(Lab, "_raise", lambda _: done.append("raise"))
    return done


@pytest.fixture
def endings() -> Iterator[None]:
    """Puts back what the commands do with signals."""
    before = {ending: signal.getsignal(ending) for ending in ENDINGS}
    yield
    for ending, handler in before.items():
        signal.signal(ending, handler)


def refuse(*_: object) -> NoReturn:
    raise LabError("no room")


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def run(command: str) -> tuple[int, str]:
    """Does a command as its program would; its exit code, and what it said on stderr but progress."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as errors:
        patch.setattr(sys, "argv", ["lab", command])
        code = __main__.main()
    lines = errors.getvalue().splitlines(keepends=True)
    return code, "".join(line for line in lines if not line.startswith("lab: "))


def test_remains_are_removed_before_the_host_is_measured(acts: list[str]) -> None:
    """On a small host what a killed run left holds the memory that the next one would be refused for."""
    lab = Lab()
    lab.preflight()
    lab.up()
    assert acts == ["remove", "measure", "raise"]


def test_a_lab_left_up_on_purpose_is_not_taken_for_remains(acts: list[str]) -> None:
    """Someone still looks at what `make rehearse KEEP=1` left; that it takes up memory is beside the point."""
    state.State.new().save()
    lab = Lab()
    lab.preflight()
    lab.keep()
    acts.clear()
    for _ in range(2):  # the refusal itself must not hold the lock
        with pytest.raises(LabError, match="left up on this host: remove it with `make lab-down`"):
            Lab().preflight()
    assert acts == []


def test_a_lab_in_use_is_neither_removed_nor_measured(acts: list[str]) -> None:
    """A second rehearsal would tear down the machines of the first."""
    first = Lab()
    first.preflight()
    acts.clear()
    with pytest.raises(LabError, match=rf"in use by process {os.getpid()}"):
        Lab().preflight()
    assert acts == []


def test_without_root_only_root_is_asked_for(acts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine follow-up complaints, or one about the lock file, would hide the one thing to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError) as refusal:
        Lab().preflight()
    assert str(refusal.value) == "The rehearsal needs root: run `sudo make rehearse`."
    assert acts == []


def test_a_refused_host_gives_the_lock_back(acts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`lab down` by hand would be told that a lab is in use."""
    monkeypatch.setattr(preflight, "run_all", refuse)
    with pytest.raises(LabError, match="no room"):
        Lab().preflight()
    Lab().down()
    assert acts == ["remove", "remove"]


def test_a_lab_interrupted_before_it_is_kept_is_taken_down(acts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Five machines would run on that no lock and no mark tells of."""
    monkeypatch.setattr(Lab, "keep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Lab().up(keep=True)
    assert acts[-2:] == ["raise", "remove"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.usefixtures("endings")
def test_an_impatient_second_ending_does_not_stop_the_removal(ending: signal.Signals) -> None:
    """With the endpoint's or ssh's threads alive the kernel gives the signal to one of them."""
    signal.signal(ending, interrupt)
    end = threading.Event()
    bystander = threading.Thread(target=end.wait)
    bystander.start()
    try:
        with _uninterrupted():
            os.kill(os.getpid(), ending)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), ending)
    finally:
        end.set()
        bystander.join()


def test_a_thread_may_remove_a_lab_too(acts: list[str]) -> None:
    """Python refuses to set a signal's handler there."""
    with ThreadPoolExecutor() as pool:
        pool.submit(Lab().down).result()
    assert acts == ["remove"]


@pytest.mark.usefixtures("acts", "endings")
@pytest.mark.parametrize(
    ("method", "ends", "code", "said"),
    [
        ("preflight", refuse, 2, "no room\n"),
        ("_raise", refuse, 1, "no room\n"),
        ("_raise", lambda _: Path("/no/such/file").stat(), 1, "[Errno 2] No such file or directory: '/no/such/file'\n"),
        ("_raise", interrupt, 130, ""),
        ("_raise", lambda _: os.kill(os.getpid(), signal.SIGHUP), 130, ""),
        ("_raise", lambda _: os.kill(os.getpid(), signal.SIGTERM), 130, ""),
    ],
)
def test_the_exit_code_tells_a_refusal_from_a_failure(
    monkeypatch: pytest.MonkeyPatch, method: str, ends: Callable[[Lab], object], code: int, said: str
) -> None:
    """A script that reads 2 as `nothing was begun` must not find half a lab, and a person no traceback."""
    monkeypatch.setattr(Lab, method, ends)
    assert run("up") == (code, said)


@pytest.mark.usefixtures("acts", "endings")
def test_a_removal_that_fails_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that ignores refusals would take the lab for removed."""
    monkeypatch.setattr(removal, "remove", refuse)
    assert run("down") == (1, "no room\n")


@pytest.mark.usefixtures("acts", "endings")
def test_a_lab_raised_by_hand_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next rehearsal would take it for remains."""
    monkeypatch.setattr(Lab, "_raise", lambda _: state.State.new().save())
    monkeypatch.setattr(reach, "hints", lambda _: "ssh web1")
    assert run("up") == (0, "")
    kept = state.load()
    assert kept is not None
    assert kept.kept
