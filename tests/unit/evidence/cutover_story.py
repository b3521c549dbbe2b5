"""A whole cutover as records, with everything that a report can show."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tests.unit.evidence.documents import BEGIN, DAY, daily, drill, rollback, step

if TYPE_CHECKING:
    from pathlib import Path

from tests.unit.evidence.documents import Story

HOSTILE = "</title></style><script>document.body.innerHTML='owned'</script><img src=x onerror=alert(1)>\"'&"
MINUTE = timedelta(minutes=1)


def tell(directory: Path) -> tuple[Story, Story]:
    """Staging up to step 5, production up to a soak that was rolled back; hostile text wherever a record holds text."""
    staging, production = Story(directory / "staging"), Story(directory / "production")
    for number in (1, 1, 2, 3, 4, 5):
        verdict = "FAIL" if not staging.directory.exists() else "PASS"
        staging.tell(
            step(
                number,
                verdict,
                who="ana",
                approver="ben",
                message="one worker was silent" if verdict == "FAIL" else None,
            )
        )
    staging.tell(drill("staging", "s3-reads", 18.4))
    production.now = BEGIN + DAY
    production.tell(_canary(production))
    for number in (7, 8):
        production.tell(step(number, who="ana"), DAY)
        production.tell(drill("production", "dual-write" if number == 7 else "s3-reads", 21.5))
    for number in range(3):
        production.tell(daily(criteria=_daily(number), pages=_pages(production) if number == 1 else []), DAY)
    production.tell(rollback("production", scenario="reads", who=HOSTILE, message=HOSTILE, timeline=_back(production)))
    return staging, production


def _canary(story: Story) -> dict[str, object]:
    begin = story.now
    changes = [
        (number, worker, mode)
        for number, worker in enumerate(("worker1", "worker2", HOSTILE))
        for mode in ("local", "dual-write")
    ]
    timeline = [
        {"at": (begin + MINUTE * (8 * number * (mode != "local"))).isoformat(), "worker": worker, "mode": mode}
        for number, worker, mode in changes
    ]
    points = [
        [(begin + MINUTE * number).isoformat(), None if number == 9 else 80 + 7 * (number % 5)] for number in range(30)
    ]
    fallbacks: list[dict[str, object]] = [
        {
            "at": begin.isoformat(),
            "worker": "worker1",
            "key": f"certificates/pdf/{HOSTILE}",
            "operation": "open",
            "cause": "SlowDown",
        },
        {"at": (begin + MINUTE).isoformat(), "worker": "worker2", "cause": "SlowDown"},
        {"at": (begin + MINUTE).isoformat()},
    ]
    return step(
        6,
        who="ana",
        timeline=timeline,
        series={"upload_p95": points},
        fallbacks=fallbacks,
        ended_at=(begin + 30 * MINUTE).isoformat(),
    )


def _back(story: Story) -> list[dict[str, object]]:
    return [{"at": story.now.isoformat(), "worker": worker, "mode": "reads-off"} for worker in ("worker1", "worker2")]


def _pages(story: Story) -> list[dict[str, object]]:
    return [{"at": story.now.isoformat(), "severity": "critical", "incident": HOSTILE, "state": "opened"}]


def _daily(number: int) -> list[dict[str, object]]:
    measured = {
        "save_success_ratio": 0.9995 - number / 10000,
        "read_fallback_ratio": 0.0004 * number,
        "keys_agree": 1.0,
    }
    return [
        {"criterion": name, "wanted": "", "measured": value, "samples": 1200, "probes": 1100, "verdict": "PASS"}
        for name, value in measured.items()
    ]
