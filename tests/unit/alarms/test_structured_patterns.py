"""JSON and space-delimited filter patterns, held to the worked examples of AWS.

Vectors: "Filter and pattern syntax" (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html), its
edition of 2023 where not said otherwise; each test names the section.
"""

from __future__ import annotations

import json

import pytest

from cutover.alarms.errors import AlarmError
from cutover.alarms.patterns import answer, compile_pattern


def matches(pattern: str, message: str) -> bool:
    return compile_pattern(pattern).match(message) is not None


EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "ThisFlag": True,
    }
)
USERS = json.dumps(
    {
        "user": {"id": 1, "email": "John.Stiles@example.com"},
        "users": [{"id": 2, "email": "John.Doe@example.com"}, {"id": 3, "email": "Jane.Doe@example.com"}],
        "actions": ["GET", "PUT", "DELETE"],
        "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]],
    }
)


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', EVENT, True),
        ('{ $.eventType = "updatetrail" }', EVENT, False),
        ("{$.eventType=UpdateTrail}", EVENT, True),
        ("{ $.sourceIPAddress != 123.123.* }", EVENT, True),
        ("{ $.sourceIPAddress != 111.111.* }", EVENT, False),
        ('{ $.arrayKey[0] = "value" }', EVENT, True),
        ('{ $.arrayKey[2] = "value" }', EVENT, False),
        ('{ $.eventType[0] = "U" }', EVENT, False),
        ("{ $.objectList[1].id = 2 }", EVENT, True),
        ("{ $.objectList[1].id = 1 }", EVENT, False),
        ("{ $.SomeObject IS NULL }", EVENT, True),
        ("{ $.SomeOtherObject IS NULL }", EVENT, False),
        ("{ $.SomeOtherObject NOT EXISTS }", EVENT, True),
        ("{ $.SomeObject NOT EXISTS }", EVENT, False),
        ("{ $.ThisFlag IS TRUE }", EVENT, True),
        ("{ $.ThisFlag IS FALSE }", EVENT, False),
        ('{ $.eventType = "*" && $.sourceIPAddress != 123.123.* }', EVENT, True),
        ("{ $.eventType = %Tr[a-i]+l% }", EVENT, True),
        ("{ $.eventType != %Trail% }", EVENT, False),
        ('{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }', USERS, True),
        (
            (
                '{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch" '
                '&& $.actions[2] = "nonmatch" }'
            ),
            USERS,
            True,
        ),
        (
            (
                '{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch") '
                '&& $.actions[2] = "nonmatch" }'
            ),
            USERS,
            False,
        ),
        ('{ ($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET" }', USERS, False),
        ("{ $.coordinates[2][0] = 7 }", USERS, True),
        ("{ $.foo = bar || $.foo = baz }", '{"foo": "baz"}', True),
        ("{ $.foo = bar }", '{"foo": "baz"}', False),
    ],
)
def test_json_examples(pattern: str, message: str, expected: bool) -> None:
    """Sections "Matching terms in JSON log events" and "Using compound expressions", and the edition of 2021."""
    assert matches(pattern, message) is expected


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("> 75", 76, True),
        ("> 75", 75, False),
        ("< 50", 49.9, True),
        ("< 50", 50, False),
        (">= 60", 60, True),
        (">= 60", 59, False),
        ("<= 5", 5, True),
        ("<= 55.5", 55.6, False),
        ("= 400", 400, True),
        ("= 400", 400.0, True),
        ("= 400", 401, False),
        ("!= 500", 400, True),
        ("!= 500", 500, False),
        ("= 1e-3", 0.001, True),
        ("!= 1e+3", 1000, False),
        ("< 10e3", 9999, True),
        ("> +1000", 1001, True),
        ("> -5", -4, True),
        ("= 9007199254740993", 9007199254740992, False),
        ("= 4*", 404, True),
        ("= 4*", 504, False),
        ("= *", 50, True),
        ("> 75", "76", False),
        ("= 400", "400", True),
        ("!= 400", "AccessDenied", True),
        ("= *Event", "PutEvent", True),
        ("= *Event", "EventId", False),
        ("= Event*", "EventName", True),
        ("= Event*", "PutEvent", False),
        ("= Ev*ent", "Ev*ent", True),
        ("= Ev*ent", "Eveent", False),
        ('= "*denied*"', "access denied twice", True),
        ("= 1", [1, 2, 3], False),
        ("!= 1", [1, 2, 3], False),
        ("!= 1", {"a": 1}, False),
        ('= "*"', True, False),
        ("!= 1", None, False),
    ],
)
def test_json_comparisons(condition: str, value: object, expected: bool) -> None:
    """The numeric examples, wildcards at the ends only, and selectors that point to no value node: edition of 2021."""
    assert matches(f"{{ $.x {condition} }}", json.dumps({"x": value})) is expected


def test_json_comparison_of_a_property_that_is_missing() -> None:
    """An event without the property would count as one whose property differs."""
    assert not matches('{ $.x != "a" }', '{"y": "b"}')


@pytest.mark.parametrize("message", ["", "x", "[1]", '"x"', '{"x": 1', '{"x": NaN}', "[" * 100_000, '{"x":' * 100_000])
def test_no_json_object_never_matches(message: str) -> None:
    """A traceback among JSON lines must neither count nor end the replay."""
    assert not matches("{ $.y NOT EXISTS }", message)


@pytest.mark.parametrize(
    "pattern",
    [
        "{ }",
        "{ $.a = 1",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1 && }",
        "{ $.a = 1 $.b = 2 }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a = = 1 }",
        "{ a = 1 }",
        "{ $ = 1 }",
        "{ $[0] = 1 }",
        '{ $.["a.b"] = 1 }',
        "{ $.a == 1 }",
        "{ $.a IS NOT NULL }",
        "{ $.a EXISTS }",
        "{ $.a IS null }",
        '{ $.a > "b" }',
        "{ $.a > 4* }",
        "{ $.a = foo-bar }",
        "{ $.a = me@example.com }",
        "{ $.a = %b!% }",
        "{ $.a = %b% && $.a = %c% && $.a = %d% }",
        "{ NOT $.a = 1 }",
    ],
)
def test_json_patterns_that_are_refused(pattern: str) -> None:
    """A pattern that is accepted and never matches is an alarm that cannot fire; IS NOT and EXISTS are unsupported."""
    with pytest.raises(AlarmError, match="Invalid filter pattern"):
        compile_pattern(pattern)


def test_deep_parentheses() -> None:
    """Python's recursion limit must not turn a valid pattern into a crash."""
    assert matches("{" + "(" * 400 + "$.a = 1" + ")" * 400 + "}", '{"a": 1}')


APACHE = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'
APACHE_FIELDS = {
    "$bytes": "1534",
    "$status_code": "404",
    "$request": "GET /index.html HTTP/1.0",
    "$timestamp": "10/Oct/2000:13:25:15 -0700",
    "$username": "frank",
    "$user": "Prod",
    "$ip": "127.0.0.1",
}


def some(*names: str) -> dict[str, str]:
    return {f"${name}": APACHE_FIELDS[f"${name}"] for name in names}


@pytest.mark.parametrize(
    ("pattern", "fields"),
    [
        ("[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", APACHE_FIELDS),
        ("[..., request =*.html*, status_code = 4*, bytes]", some("request", "status_code", "bytes")),
        (
            "[ip, user, username, timestamp, request =*.html*, status_code = 404 || status_code = 410, bytes]",
            APACHE_FIELDS,
        ),
        ("[ip, user, username, timestamp, request, status_code, bytes > 1000]", APACHE_FIELDS),
        ("[..., status_code, bytes]", some("status_code", "bytes")),
        ("[ip, user, ..., status_code, bytes]", some("ip", "user", "status_code", "bytes")),
        ("[ip, user, ...]", some("ip", "user")),
        ("[..., request=*.html*, status_code=4*,]", some("request", "status_code")),
        ("[ip, , , , , , bytes]", some("ip", "bytes")),
        ("[ip, user, username, timestamp, ..., request, status_code, bytes]", APACHE_FIELDS),
        ('[ip, user="Prod", ...]', some("ip", "user")),
        (r"[ip=%127\.0\.0\.[1-9]%, ...]", some("ip")),
        ("[..., (bytes > 2000 || bytes < 1600) && bytes != 0]", some("bytes")),
        ("[..., bytes = 1534.0]", some("bytes")),
        ("[]", {}),
        ("[...]", {}),
    ],
)
def test_space_delimited_fields(pattern: str, fields: dict[str, str]) -> None:
    """Sections "Using metric filters to extract values" and "Publishing dimensions", and the edition of 2021."""
    assert answer({"pattern": pattern, "message": APACHE}) == {"matches": True, "fields": fields}


@pytest.mark.parametrize(
    "pattern",
    [
        "[ip, user, username, timestamp, request, status_code]",
        "[ip, user, username, timestamp, request, status_code, bytes, more]",
        "[ip, user, username, timestamp, request, status_code, bytes, ..., more]",
        "[..., status_code = 5*, bytes]",
        "[..., status_code = 403 || status_code = 405, bytes]",
        "[..., bytes > 1534]",
        "[..., bytes < 1534]",
        "[..., bytes != 1534]",
        "[ip > 100, ...]",
        '[..., bytes = "1534.0"]',
    ],
)
def test_space_delimited_patterns_that_do_not_match(pattern: str) -> None:
    """As above: the number of fields has to be the same without an ellipsis, and every condition has to hold."""
    assert answer({"pattern": pattern, "message": APACHE}) == {"matches": False, "fields": {}}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[w1=ERROR, w2]", ("ERROR message",)),
        ("[w1=ERROR || w1=WARN, w2]", ("ERROR message", "WARN message")),
        ("[w1=ERROR || W1=WARN, w2]", ("ERROR message", "WARN message")),
        ("[w1!=ERROR && w1!=WARN, w2]", ("INFO message",)),
        ("[w1=ERROR]", ()),
    ],
)
def test_terms_in_order(pattern: str, expected: tuple[str, ...]) -> None:
    """Section "Using pattern matching to match terms in space-delimited log events", with the lines of 2021."""
    lines = ("ERROR WARN message", "ERROR message", "WARN message", "INFO message")
    assert tuple(line for line in lines if matches(pattern, line)) == expected


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("a  b", {"$x": "a", "$y": "b"}),
        (' [a b] "c d" ', {"$x": "a b", "$y": "c d"}),
        ('[] ""', {"$x": "", "$y": ""}),
        ("[pid]: [a", {"$x": "[pid]:", "$y": "[a"}),
    ],
)
def test_fields_of_an_event(message: str, fields: dict[str, str]) -> None:
    """ "Characters between brackets and double quotation marks are considered single fields"."""
    assert answer({"pattern": "[x, y]", "message": message})["fields"] == fields


@pytest.mark.parametrize(
    "pattern",
    [
        "[a, b",
        "[a, ..., b, ...]",
        "[a, a]",
        "[a = ]",
        "[a 1]",
        "[a b c]",
        "[a = &&]",
        "[a = 1 b]",
        "[= 1]",
        "[1]",
        '["a"]',
        "[a = 1 && c = 2]",
        "[a > b]",
        "[a = 1 &&]",
        "[(a = 1]",
        "[a = 1 & a = 2]",
        "[a = %x%, b = %y%, c = %z%]",
    ],
)
def test_space_delimited_patterns_that_are_refused(pattern: str) -> None:
    """A pattern that is accepted and never matches is an alarm that cannot fire."""
    with pytest.raises(AlarmError, match="Invalid filter pattern"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "message", "metric_value", "expected"),
    [
        ("{ $.latency = * }", '{"latency": 50, "requestType": "GET"}', "$.latency", 50.0),
        ("{ $.latency = * }", '{"latency": 50, "requestType": "GET"}', "$.requestType", None),
        ("{ $.latency = * }", '{"latency": 50, "requestType": "GET"}', "$.absent", None),
        ("{ $.latency = * }", '{"latency": 50, "a": [{"b": "2.5"}]}', "$.a[0].b", 2.5),
        ("{ $.latency = * }", '{"latency": 50, "a": true}', "$.a", None),
        ("{ $.latency = * }", '{"latency": 50, "a": 1e999}', "$.a", None),
        ("{ $.latency = * }", f'{{"latency": 50, "a": {"9" * 400}}}', "$.a", None),
        ("{ $.latency = * }", '{"latency": 50}', "$.latency[", None),
        ("{ $.latency = * }", '{"latency": 50}', "1", 1.0),
        ("[..., bytes]", APACHE, "$bytes", 1534.0),
        ("[..., request, s, bytes]", APACHE, "$request", None),
        ("[..., bytes]", APACHE, "$absent", None),
        ("[..., bytes]", APACHE, "$.bytes", None),
        ("127", APACHE, "-2.5", -2.5),
        ("127", APACHE, "nan", None),
    ],
)
def test_metric_values(pattern: str, message: str, metric_value: str, expected: float | None) -> None:
    """Section "Using values in log events to increment a metric's value": a wrong value is a wrong percentile."""
    match = compile_pattern(pattern).match(message)
    assert match is not None
    assert match.value(metric_value) == expected
