"""What a scenario expects of its timeline, held against what the replay showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover import names, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.alarm_table import Severity
    from cutover.alarms.replay import Replay
    from cutover.alarms.scenario import Expectations, SentAt

__all__ = ["broken_expectations", "sendings"]


def broken_expectations(expected: Expectations, shown: Replay) -> list[str]:
    """A sentence for each expectation that does not hold: what was expected, and what was seen."""
    broken = []
    for alarm, changes in expected.alarms.items():
        wanted = [(change.minute, change.state) for change in changes]
        seen = _changes(shown, names.alarm(shown.deployment, alarm))
        if wanted != seen:
            broken.append(f"{alarm}: expected {_phrase(wanted)}; seen {_phrase(seen)}")
    if expected.others == "quiet":
        for alarm in plan.load().alarms:
            seen = _changes(shown, names.alarm(shown.deployment, alarm))
            if seen and alarm not in expected.alarms:
                broken.append(f"{alarm}: expected to stay quiet; seen {_phrase(seen)}")
    pages, resolved = sendings(shown, "critical")
    mails, _ = sendings(shown, "warning")
    broken += _broken_sendings("pages", expected.pages, pages)
    broken += _broken_sendings("resolved", expected.resolved, resolved)
    broken += _broken_sendings("mails", expected.mails, mails)
    return broken


def sendings(shown: Replay, severity: Severity) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Minute and incident of what was sent as ALARM, and of the OKs that followed: a new alarm's first OK is none."""
    raised, resolved, open_incidents = [], [], set()
    for minute, incident, state in shown.sent(severity):
        if state == "ALARM":
            raised.append((minute, incident))
            open_incidents.add(incident)
        elif state == "OK" and incident in open_incidents:
            resolved.append((minute, incident))
            open_incidents.remove(incident)
    return raised, resolved


def _changes(shown: Replay, name: str) -> list[tuple[int, str]]:
    """An alarm's changes into and out of ALARM."""
    return [
        (shown.minute(transition.at), transition.new)
        for transition in shown.transitions
        if transition.alarm == name and transition.old != transition.new and "ALARM" in {transition.old, transition.new}
    ]


def _broken_sendings(what: str, expected: list[SentAt] | None, seen: list[tuple[int, str]]) -> list[str]:
    wanted = None if expected is None else [(sending.minute, sending.incident) for sending in expected]
    return [] if wanted is None or wanted == seen else [f"{what}: expected {_phrase(wanted)}; seen {_phrase(seen)}"]


def _phrase(changes: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{what} after {minute} min" for minute, what in changes) or "nothing"
