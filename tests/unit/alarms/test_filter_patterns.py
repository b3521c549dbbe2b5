"""Filter patterns of terms and regular expressions, held to the worked examples of AWS, and what all patterns share.

Vectors: "Filter and pattern syntax" (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html), its
edition of 2023 where not said otherwise; each test names the section. Regular expressions: "Supported regular
expressions (regex) syntax" (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/regex-expressions.html).
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.patterns import LONGEST, answer, compile_pattern

BAD_REQUEST = "[ERROR 400] BAD REQUEST"
UNAUTHORIZED = "[ERROR 401] UNAUTHORIZED REQUEST"
MISSING_ARGUMENTS = "[ERROR 419] MISSING ARGUMENTS"
INVALID_ARGUMENTS = "[ERROR 420] INVALID ARGUMENTS"
REQUESTS = (BAD_REQUEST, UNAUTHORIZED, MISSING_ARGUMENTS, INVALID_ARGUMENTS)


def matches(pattern: str, message: str) -> bool:
    return compile_pattern(pattern).match(message) is not None


def matched(pattern: str, messages: tuple[str, ...]) -> tuple[str, ...]:
    compiled = compile_pattern(pattern)
    return tuple(message for message in messages if compiled.match(message) is not None)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ERROR", REQUESTS),
        ("ERROR ARGUMENTS", (MISSING_ARGUMENTS, INVALID_ARGUMENTS)),
        ("?ERROR ?ARGUMENTS", REQUESTS),
        ("?MISSING ?INVALID", (MISSING_ARGUMENTS, INVALID_ARGUMENTS)),
        ("ERROR -ARGUMENTS", (BAD_REQUEST, UNAUTHORIZED)),
        ('" "', REQUESTS),
        ('""', REQUESTS),
        ("", REQUESTS),
        ("error", ()),
        ('-"INVALID ARGUMENTS"', (BAD_REQUEST, UNAUTHORIZED, MISSING_ARGUMENTS)),
        ('?"BAD REQUEST" ?"INVALID ARGUMENTS"', (BAD_REQUEST, INVALID_ARGUMENTS)),
        ("?ERROR ?ARGUMENTS REQUEST", (BAD_REQUEST, UNAUTHORIZED)),
        ("?BAD -ARGUMENTS", (BAD_REQUEST, UNAUTHORIZED)),
        ("%AUTHORIZED%", (UNAUTHORIZED,)),
    ],
)
def test_terms(pattern: str, expected: tuple[str, ...]) -> None:
    """A filter that reads its terms otherwise counts other lines than in AWS: an alarm that lies.

    Section "Using filter patterns to match terms in log events"; optional terms are ignored beside others.
    """
    assert matched(pattern, REQUESTS) == expected


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL ERROR SERVER", False),
        ("ERROR", "Exiting with ERRORCODE: -1", True),
        ('"ERROR" - "Exiting"', "Exiting with ERRORCODE: -1", False),
        ('"ERROR" - "Exiting"', "[ERROR] A fatal exception has occurred", True),
        ('"ERROR" "Exception"', "[ERROR] Caught IllegalArgumentException", True),
        ('"ERROR" "Exception"', "[ERROR] Unhandled", False),
        ("?ERROR ?WARN", "WARN message", True),
        ("ERROR WARN", "WARN message", False),
        ("ERROR -WARN", "ERROR message", True),
        ("ERROR -WARN", "ERROR WARN message", False),
        (r'"say \"no\""', 'they say "no" twice', True),
        (r'"say \"no\""', "they say no twice", False),
        (r'"C:\\temp"', r"in C:\temp", True),
        ("snake_case_1", "a snake_case_1 b", True),
    ],
)
def test_terms_of_older_editions(pattern: str, message: str, expected: bool) -> None:
    """As above; section "Matching Terms in Log Events" of the edition of 2021, which has the finer points."""
    assert matches(pattern, message) is expected


@pytest.mark.parametrize(
    "pattern",
    ["ERROR:", "cert.s3", "a-b", '"open', "ERROR -", "?-a", '"a""b"', "%open", "? a", "(ERROR)", "*"],
)
def test_terms_that_need_quotes_are_refused(pattern: str) -> None:
    """Accepted here and refused by AWS, `pulumi up` fails in production only."""
    with pytest.raises(AlarmError, match=r"Invalid filter pattern .* at character"):
        compile_pattern(pattern)


REGULAR_EXPRESSIONS = [
    ("%^[hc]at%", ["hat", "cat on"], ["a hat"]),
    ("%[hc]at$%", ["a hat"], ["hats", "hat\n"]),
    ("%colou?r%", ["color", "colour"], ["colr"]),
    ("%[abcx-z]%", ["y"], ["d"]),
    ("%^a{3,5}$%", ["aaa", "aaaaa"], ["aa", "aaaaaa"]),
    ("%gray|grey%", ["gray", "grey"], ["gry"]),
    (r"%10\.10\.0\.1%", ["10.10.0.1"], ["10a10b0c1"]),
    (r"%\[.\]%", ["[a]"], ["a", "[]"]),
    ("%ab*c%", ["ac", "abbc"], ["adc"]),
    ("%ab+c%", ["abc"], ["ac"]),
    (r"%^\d\D\s\S\w\W$%", ["1a bc-"], ["aa bc-", "1a bc_"]),
    (r"%\x3A%", ["a:b"], ["ab"]),
    (r"%\d%", ["1"], ["٣"]),
    (r"%\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}%", ["from 10.0.0.255"], ["10.0.0"]),
    ("%[Ee]rror|[Ff]ail%", ["error", "Failed"], ["ERROR"]),
    ("%[|[]%", ["[", "|"], ["x"]),
    ("%[a$]%", ["a", "$"], ["b"]),
    (r"%\x0a%", ["a\nb"], ["ab"]),
    ("%a% %b%", ["ab"], ["a", "b"]),
]


@pytest.mark.parametrize(("pattern", "found", "missed"), REGULAR_EXPRESSIONS)
def test_regular_expressions(pattern: str, found: list[str], missed: list[str]) -> None:
    """Python's regular expressions are not AWS's: the difference must not decide what counts."""
    assert [matches(pattern, message) for message in (*found, *missed)] == [True] * len(found) + [False] * len(missed)


@pytest.mark.parametrize(
    "pattern", ["%something!%", "%(a)%", "%a b%", "%%", "%é%", r"%\b%", r"%\x3%", "%[a%", "%*%", "%a% %b% %c%", r"%\%"]
)
def test_regular_expressions_beyond_aws_are_refused(pattern: str) -> None:
    """ "Filter patterns with regex can only include the following"; two expressions in a pattern at the most."""
    with pytest.raises(AlarmError, match="Invalid filter pattern"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["%a% %b!%", r"%a% %b\b%"])
def test_the_place_of_a_fault_in_a_regular_expression(pattern: str) -> None:
    """The second expression is at fault: a place in the first one would send people astray."""
    with pytest.raises(AlarmError, match="at character 7: "):
        compile_pattern(pattern)


def test_longest_pattern() -> None:
    """PutMetricFilter takes 1,024 characters (API reference); one more fails in production only."""
    assert matches(LONGEST * "a", LONGEST * "a")
    with pytest.raises(AlarmError, match="1025 characters"):
        compile_pattern((LONGEST + 1) * "a")
    assert LONGEST == 1024


SAVED = '"METRIC: cert.s3.save.success="'


def application_json(line: str, value: float) -> str:
    return json.dumps(
        {
            "levelname": "INFO",
            "asctime": "2026-11-24 17:15:08,499",
            "name": "apps.tournaments.storage",
            "message": f"METRIC: {line}={value}",
            "metric_name": line,
            "value": value,
            "tags": {},
        }
    )


@pytest.mark.parametrize(
    "written",
    [
        "INFO 2026-11-24 17:15:08,499 apps.tournaments.storage METRIC: {line}=1",
        "INFO 2026-11-24 17:15:08,499 storage 4711 140121 METRIC: {line}=1",
        application_json("{line}", 1),
    ],
)
def test_lines_of_the_application(written: str) -> None:
    """A counter that takes failures for successes hides the incident; every formatter's layout has to count."""
    compiled = compile_pattern(SAVED)
    assert compiled.match(written.replace("{line}", "cert.s3.save.success")) is not None
    assert compiled.match(written.replace("{line}", "cert.s3.save.fail")) is None
    assert compiled.match(written.replace("{line}", "cert.s3.save.success.late")) is None


def test_measurement_lines() -> None:
    """The two p95 alarms read the probe's JSON lines: another line's value would be another latency."""
    compiled = compile_pattern('{ $.metric_name = "cert.s3.probe.put_ms" }')
    match = compiled.match(application_json("cert.s3.probe.put_ms", 123))
    assert match is not None
    assert match.value("$.value") == 123
    assert compiled.match(application_json("cert.s3.probe.url_ms", 123)) is None


@pytest.mark.parametrize("document", [{}, {"pattern": "a"}, {"pattern": "a", "message": 1}, {"message": "a"}])
def test_lines_that_cannot_be_answered(document: dict[str, Any]) -> None:
    """A message or a pattern taken for empty would match, or be matched by, everything."""
    assert list(answer(document)) == ["error"]


def test_an_invalid_pattern_is_answered_with_its_place() -> None:
    """One bad line must not end the others' answers."""
    assert answer({"pattern": "a b:", "message": ""})["error"].startswith(
        "Invalid filter pattern 'a b:' at character 3: b: has other characters than"
    )


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_quoted_term_is_found_in_what_contains_it(term: str, before: str, after: str) -> None:
    """Whatever a line of the application holds, quoting it is enough to count it."""
    message = before + term + after
    assert matches(quoted(term), message)
    assert not matches(f"-{quoted(term)}", message)


@given(st.lists(st.from_regex(r"[A-Za-z0-9_]{1,3}", fullmatch=True), min_size=1, max_size=4), st.text(), st.randoms())
def test_the_order_of_optional_terms_is_irrelevant(terms: list[str], message: str, random: Any) -> None:
    """Two spellings of one filter must count the same lines."""
    pattern = " ".join(f"?{term}" for term in terms)
    shuffled = terms.copy()
    random.shuffle(shuffled)
    assert matches(pattern, message) is matches(" ".join(f"?{term}" for term in shuffled), message)
    assert matches(pattern, message) is any(term in message for term in terms)


@given(st.text(alphabet='[]{}"%?-=<>!&|(),.*\\ $aN1é', max_size=30), st.text(max_size=30))
def test_any_pattern_is_used_or_refused(pattern: str, message: str) -> None:
    """No pattern may end the command with a traceback."""
    given_answer = answer({"pattern": pattern, "message": message})
    assert set(given_answer) in ({"matches", "fields"}, {"error"})


def test_matching_takes_microseconds() -> None:
    """A replay matches some 100,000 lines against a dozen filters: a millisecond a line would be minutes."""
    patterns = [compile_pattern(f'"METRIC: cert.s3.line{number}="') for number in range(10)]
    patterns += [compile_pattern(f'{{ $.metric_name = "cert.s3.probe{number}" }}') for number in range(2)]
    lines = [application_json("cert.s3.save.success", number) for number in range(2_000)]
    start = time.process_time()
    for line in lines:
        for pattern in patterns:
            pattern.match(line)
    assert (time.process_time() - start) / len(lines) < 200e-6
