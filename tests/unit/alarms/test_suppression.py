"""The actions suppressor, held to AWS's six examples.

Vectors: "Create a composite alarm"
(docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm.html),
"Composite alarm action suppression": WaitPeriod is 2 time units, ExtensionPeriod 3.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.suppression import Decision, Suppression

NOTHING = Decision()
WAITING = Decision(suppressed_by="WaitPeriod")
EXTENDED = Decision(suppressed_by="ExtensionPeriod")
SUPPRESSED = Decision(suppressed_by="Alarm")


def follow(composite: dict[int, str], suppressor: dict[int, str], until: int = 12) -> dict[int, Decision]:
    """The decisions at t1, t2 …, where they differ from the one before or act; both alarms start in OK."""
    suppression = Suppression(2, 3, composite_state="OK")
    states = {"composite": "OK", "suppressor": suppressor.pop(0, "OK")}
    told: dict[int, Decision] = {}
    last = NOTHING
    for time in range(1, until):
        states = {
            "composite": composite.get(time, states["composite"]),
            "suppressor": suppressor.get(time, states["suppressor"]),
        }
        decision = suppression.at(time, states["composite"], states["suppressor"])
        if decision.states or decision.suppressed_by != last.suppressed_by:
            told[time] = decision
        last = decision
    return told


def test_example_1_not_suppressed_after_the_wait() -> None:
    """An alarm whose suppressor stays quiet has to page, once the wait is over."""
    assert follow({2: "ALARM"}, {}) == {2: WAITING, 4: Decision(("ALARM",))}


def test_example_2_suppressed_before_the_wait_expires() -> None:
    """The page for what the suppressor explains a moment later would be noise."""
    assert follow({2: "ALARM"}, {3: "ALARM"}) == {2: WAITING, 3: SUPPRESSED}


def test_example_3_a_change_within_the_wait_starts_a_new_one() -> None:
    """The first wait ends at t4 and must not act; after the new one AWS acts for the present state, OK."""
    assert follow({2: "ALARM", 3: "OK"}, {}) == {2: WAITING, 5: Decision(("OK",))}


def test_example_4_suppressed_by_the_alarm() -> None:
    """During a silence nothing is sent."""
    assert follow({2: "ALARM"}, {0: "ALARM"}) == {1: SUPPRESSED}


def test_example_5_not_suppressed_after_the_extension() -> None:
    """What is still wrong after a silence has to be sent, or nobody ever hears of it."""
    assert follow({2: "ALARM"}, {3: "ALARM", 6: "OK"}) == {
        2: WAITING,
        3: SUPPRESSED,
        6: EXTENDED,
        9: Decision(("ALARM",)),
    }


def test_example_6_a_change_within_the_extension_starts_a_wait() -> None:
    """The change starts a wait of its own, also within an extension (whose end AWS's text puts at t8, not t9)."""
    assert follow({2: "ALARM", 7: "OK"}, {3: "ALARM", 6: "OK"}) == {
        2: WAITING,
        3: SUPPRESSED,
        6: EXTENDED,
        7: WAITING,
        9: Decision(("OK",)),
    }


def test_a_silence_without_a_change_sends_nothing_at_its_end() -> None:
    """Actions belong to changes: a drill that went well must not end in a mail."""
    assert follow({}, {3: "ALARM", 6: "OK"}) == {3: SUPPRESSED, 6: EXTENDED, 9: NOTHING}


def test_a_page_sent_before_a_silence_is_not_repeated() -> None:
    """The on-call was told; a second page for the same incident costs trust."""
    assert follow({1: "ALARM"}, {4: "ALARM", 6: "OK"}) == {
        1: WAITING,
        3: Decision(("ALARM",)),
        4: SUPPRESSED,
        6: EXTENDED,
        9: NOTHING,
    }


def test_a_silence_that_comes_back_within_the_extension_goes_on() -> None:
    """The first extension must not end within the second silence."""
    assert follow({4: "ALARM"}, {3: "ALARM", 6: "OK", 8: "ALARM"}) == {3: SUPPRESSED, 6: EXTENDED, 8: SUPPRESSED}


def test_a_suppressor_in_the_last_moment_of_the_wait_still_suppresses() -> None:
    """ "If a suppressor alarm changes within 60 seconds, set WaitPeriod to 60 seconds": the 60th counts."""
    assert follow({2: "ALARM"}, {4: "ALARM"}) == {2: WAITING, 4: SUPPRESSED}


def test_a_suppressor_without_data_does_not_suppress() -> None:
    """Only the state ALARM suppresses; a suppressor that loses its data ends the silence as OK does."""
    assert follow({2: "ALARM"}, {1: "ALARM", 5: "INSUFFICIENT_DATA"}) == {
        1: SUPPRESSED,
        5: EXTENDED,
        8: Decision(("ALARM",)),
    }


def test_without_periods_every_change_acts_at_once() -> None:
    """A wait of 0 seconds must not delay a page by an evaluation."""
    suppression = Suppression(0, 0)
    assert suppression.at(0, "OK", "OK") == Decision(("OK",))
    assert suppression.at(60, "OK", "OK") == NOTHING
    assert suppression.at(120, "ALARM", "OK") == Decision(("ALARM",))
    assert suppression.at(180, "OK", "ALARM") == SUPPRESSED
    assert suppression.at(240, "OK", "OK") == Decision(("OK",))


@pytest.mark.parametrize(("wait", "next_state", "expected"), [(90, "ALARM", NOTHING), (90, "OK", WAITING)])
def test_a_period_that_ends_between_two_moments_counts(wait: int, next_state: str, expected: Decision) -> None:
    """Looked at each minute, an alarm that returns to OK just after its wait was still owed its page."""
    suppression = Suppression(wait, 60, composite_state="OK")
    assert suppression.at(0, "ALARM", "OK") == WAITING
    assert suppression.at(60, "ALARM", "OK") == WAITING
    late = suppression.at(120, next_state, "OK")
    assert late.states == ("ALARM",)
    assert late.suppressed_by == expected.suppressed_by
    assert late.acts is (next_state == "ALARM")


def test_a_silence_after_the_wait_does_not_take_the_page_back() -> None:
    """The wait was over before the suppressor came."""
    suppression = Suppression(90, 60, composite_state="OK")
    suppression.at(0, "ALARM", "OK")
    assert suppression.at(120, "ALARM", "ALARM") == Decision(("ALARM",), "Alarm")


@pytest.mark.parametrize("periods", [(-1, 0), (0, -1)])
def test_negative_periods_are_refused(periods: tuple[int, int]) -> None:
    """A period that ended before it began would act within a silence."""
    with pytest.raises(AlarmError, match="give 0 or more seconds"):
        Suppression(*periods)


STATES = st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"])


@given(st.lists(st.tuples(STATES, STATES), max_size=30), st.integers(0, 4), st.integers(0, 4), st.integers(0, 1000))
def test_time_shifts_and_conservation(moments: list[tuple[str, str]], wait: int, extension: int, start: int) -> None:
    """Decisions depend on differences of time alone; nothing acts while suppressed; the last change is acted upon."""
    here = Suppression(wait, extension, composite_state="OK")
    there = Suppression(wait, extension, composite_state="OK")
    acted: list[str] = []
    composite, changes = "OK", 0
    for time, (composite, suppressor) in enumerate(moments):
        decision = here.at(time, composite, suppressor)
        assert decision == there.at(time + start, composite, suppressor)
        assert not (suppressor == "ALARM" and decision.states)
        acted += decision.states
    changes = sum(new != old for (new, _), old in zip(moments, ["OK", *[state for state, _ in moments]], strict=False))
    for time in range(len(moments), len(moments) + 10):
        acted += here.at(time, composite, "OK").states
    assert len(acted) <= changes
    assert acted[-1:] == ([composite] if changes else [])
