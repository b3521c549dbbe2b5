"""The monitor: samples, periods, metric filters, states, actions and suppression, minute by minute."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.alarms.errors import AlarmError
from cutover.alarms.metric_store import Metric, Statistic
from cutover.alarms.monitor import Monitor, Transition
from cutover.alarms.resources import Resources, load
from cutover.alarms.states import evaluate

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NAMESPACE, GROUP = "Shop", "/shop/web"
START = 1_767_225_600  # 2026-01-01T00:00:00Z, a full hour
PAGE, RESOLVE, UNKNOWN = "arn:aws:sns:us-east-1:123456789012:page", "arn:resolve", "arn:unknown"


def an_alarm(name: str = "errors", **changes: Any) -> dict[str, Any]:
    declared = {
        "AlarmName": name,
        "Namespace": NAMESPACE,
        "MetricName": name,
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 5,
        "TreatMissingData": "missing",
        "AlarmActions": [PAGE],
        "OKActions": [RESOLVE],
        "InsufficientDataActions": [UNKNOWN],
    }
    return {key: value for key, value in (declared | changes).items() if value is not None}


def a_filter(pattern: str, default: float | None = None, value: str = "1", name: str = "errors") -> dict[str, Any]:
    transformation = {"metricName": name, "metricNamespace": NAMESPACE, "metricValue": value}
    if default is not None:
        transformation["defaultValue"] = default  # type: ignore[assignment]  # a number among texts
    return {
        "logGroupName": GROUP,
        "filterName": name,
        "filterPattern": pattern,
        "metricTransformations": [transformation],
    }


def a_composite(name: str, rule: str, **changes: Any) -> dict[str, Any]:
    return {"AlarmName": name, "AlarmRule": rule, "AlarmActions": [PAGE], "OKActions": [RESOLVE], **changes}


def history(transitions: list[Transition], name: str = "errors") -> list[tuple[int, str]]:
    return [(int(each.at - START) // 60, each.new) for each in transitions if each.alarm == name]


def states_of(declared: dict[str, Any], values: Sequence[float | None]) -> list[tuple[int, str]]:
    """The alarm's changes when its metric has these values, one a minute."""
    monitor = Monitor(Resources([declared]), START)
    for minute, value in enumerate(values):
        if value is not None:
            monitor.put(NAMESPACE, declared["AlarmName"], value, START + minute * 60)
    return history(monitor.advance(START + len(values) * 60), declared["AlarmName"])


class TestStatistics:
    @pytest.mark.parametrize(
        ("statistic", "expected"),
        [("Sum", 15.0), ("SampleCount", 5), ("Average", 3.0), ("Minimum", 1.0), ("Maximum", 5.0), ("p50", 3.0)],
    )
    def test_of_a_period(self, statistic: str, expected: float) -> None:
        metric = Metric(0)
        for value in (5, 1, 4, 2, 3):
            metric.add(value, 7)
        assert metric.series(Statistic.named(statistic), range(7, 10), 1) == [None, expected, None]
        assert metric.series(Statistic.named(statistic), range(9, 11), 2) == [expected, None]

    @pytest.mark.parametrize(("percentile", "rank"), [("p0", 1), ("p1", 1), ("p90", 90), ("p94.5", 95), ("p100", 100)])
    def test_a_percentile_is_the_nearest_rank(self, percentile: str, rank: int) -> None:
        """With floats, the 90th percentile of 100 values is the 91st: a healthy site would page."""
        metric = Metric(0)
        for value in reversed(range(1, 101)):
            metric.add(value, 0)
        assert metric.series(Statistic.named(percentile), range(1, 2), 1) == [rank]

    def test_a_negative_value_has_no_percentile(self) -> None:
        metric = Metric(0)
        metric.add(-1, 0)
        assert metric.series(Statistic.named("p50"), range(1, 2), 1) == [None]

    def test_a_nought_has_one(self) -> None:
        metric = Metric(0)
        metric.add(0, 0)
        assert metric.series(Statistic.named("p50"), range(1, 2), 1) == [0]

    @pytest.mark.parametrize("statistic", ["tm90", "p101", "p", "sum", "", None, 95])
    def test_another_statistic_is_refused(self, statistic: object) -> None:
        with pytest.raises(AlarmError, match="is not known"):
            Statistic.named(statistic)

    @given(st.lists(st.floats(0, 1e6), min_size=2), st.randoms())
    def test_the_order_within_a_minute_does_not_change_a_sum(self, values: list[float], order: random.Random) -> None:
        """Ten times 0.1 must not be above a threshold of 1 in one order of the lines, and below in another."""
        sums = []
        for _ in range(2):
            metric = Metric(0)
            for value in values:
                metric.add(value, 0)
            sums.append(metric.series(Statistic.named("Sum"), range(1, 2), 1))
            order.shuffle(values)
        assert sums[0] == sums[1]

    def test_what_is_forgotten_is_gone_and_the_rest_is_not(self) -> None:
        metric = Metric(0)
        for minute in range(10):
            metric.add(minute, minute)
        metric.forget(4)
        metric.add(100, 3)
        assert metric.series(Statistic.named("Sum"), range(4, 8), 1) == [None, 4, 5, 6]
        assert metric.series(Statistic.named("Maximum"), range(4, 6), 3) == [None, 4]


class TestMetricFilters:
    @staticmethod
    def values(default: float | None, lines: list[tuple[float, str]]) -> list[float | None]:
        """The newest value at the end of each of four minutes."""
        monitor = Monitor(Resources([an_alarm()], (), [a_filter('"ERROR"', default)]), START)
        seen = []
        for minute in range(4):
            for at, message in lines:
                if minute * 60 <= at < minute * 60 + 60:
                    monitor.log(GROUP, message, START + at)
            monitor.advance(START + minute * 60 + 60)
            seen.append(monitor.values["errors"])
        return seen

    def test_the_default_is_for_minutes_whose_lines_do_not_match(self) -> None:
        """A default for minutes without any line would hide that log delivery is dead."""
        lines = [(1.0, "ERROR"), (2.0, "fine"), (59.0, "ERROR"), (61.0, "fine"), (180.0, "ERROR")]
        assert self.values(0, lines) == [2, 0, None, 1]

    def test_without_default_they_have_no_value(self) -> None:
        assert self.values(None, [(1.0, "ERROR"), (61.0, "fine")]) == [1, None, None, None]

    def test_a_default_is_one_sample_and_gives_way_to_a_match(self) -> None:
        assert self.values(7, [(1.0, "fine"), (2.0, "fine"), (61.0, "fine"), (62.0, "ERROR")]) == [7, 1, None, None]

    def test_a_matching_value_that_equals_the_default_stays(self) -> None:
        """Else the smallest latencies vanish, and the average of the rest pages."""
        declared = a_filter("{ $.value = * }", default=0, value="$.value")
        monitor = Monitor(Resources([an_alarm(Statistic="Average")], (), [declared]), START)
        for value in (0, 8):
            monitor.log(GROUP, json.dumps({"value": value}), START)
        monitor.advance(START + 60)
        assert monitor.values["errors"] == 4

    def test_a_number_is_taken_out_of_a_json_line(self) -> None:
        declared = a_filter('{ $.metric_name = "put_ms" }', value="$.value")
        monitor = Monitor(Resources([an_alarm()], (), [declared]), START)
        for line in ({"metric_name": "put_ms", "value": 12.5}, {"metric_name": "get_ms", "value": 99}, {"value": 3}):
            monitor.log(GROUP, json.dumps(line), START)
        monitor.log(GROUP, '{"metric_name": "put_ms", "value": "slow"}', START)
        monitor.advance(START + 60)
        assert monitor.values["errors"] == 12.5

    def test_lines_of_another_group_do_not_count(self) -> None:
        monitor = Monitor(Resources([an_alarm()], (), [a_filter('"ERROR"')]), START)
        monitor.log("/shop/mail", "ERROR", START)
        monitor.advance(START + 60)
        assert monitor.values["errors"] is None


class TestTime:
    def test_a_minute_is_judged_when_it_is_full(self) -> None:
        monitor = Monitor(Resources([an_alarm()]), START)
        monitor.put(NAMESPACE, "errors", 6, START + 59)
        assert monitor.advance(START + 59.9) == []
        assert history(monitor.advance(START + 60)) == [(1, "ALARM")]
        assert monitor.advance(START + 60) == []

    def test_periods_slide_by_the_minute(self) -> None:
        """Aligned to multiples of the period, a failure in minute 4 would page in minute 5 or not until 10."""
        declared = an_alarm(Period=300, TreatMissingData="notBreaching")
        values: list[float | None] = [0, 0, 6, 0, 0, 0, 0, 0, 0, 0]
        assert states_of(declared, values) == [(1, "OK"), (3, "ALARM"), (8, "OK")]

    def test_the_range_is_two_periods_more(self) -> None:
        """The user guide's table has `- - X - -` in ALARM and `- - - - -` in INSUFFICIENT_DATA, for three periods."""
        declared = an_alarm(EvaluationPeriods=3, DatapointsToAlarm=3)
        assert states_of(declared, [6, None, None, None, None, None]) == [
            (1, "OK"),
            (3, "ALARM"),
            (6, "INSUFFICIENT_DATA"),
        ]

    def test_a_late_line_counts_in_its_minute(self) -> None:
        """Two failures of one minute, one delivered late, are not one failure each in two minutes."""
        monitor = Monitor(Resources([an_alarm(Period=120, Threshold=1)], (), [a_filter('"ERROR"', 0)]), START)
        monitor.log(GROUP, "ERROR", START + 10)
        assert history(monitor.advance(START + 60)) == [(1, "OK")]
        monitor.log(GROUP, "ERROR", START + 50)
        assert history(monitor.advance(START + 120)) == [(2, "ALARM")]
        monitor.log(GROUP, "fine", START + 170)
        assert history(monitor.advance(START + 180)) == [(3, "OK")]

    def test_a_late_line_corrects_a_minute_that_was_judged(self) -> None:
        """A machine that delivers a minute late would never page where two minutes in a row have to fail."""
        monitor = Monitor(Resources([an_alarm(EvaluationPeriods=2)]), START)
        monitor.put(NAMESPACE, "errors", 0, START)
        assert history(monitor.advance(START + 60)) == [(1, "OK")]
        monitor.put(NAMESPACE, "errors", 6, START)
        monitor.put(NAMESPACE, "errors", 6, START + 60)
        assert history(monitor.advance(START + 120)) == [(2, "ALARM")]

    def test_values_may_be_put_in_advance(self) -> None:
        """A silence is written for the next hours at its start, and must end by itself."""
        monitor = Monitor(Resources([an_alarm(TreatMissingData="notBreaching")]), START)
        for minute in (2, 3, 4):
            monitor.put(NAMESPACE, "errors", 9, START + minute * 60)
        changes = [change for minute in range(1, 10) for change in monitor.advance(START + minute * 60)]
        assert history(changes) == [(1, "OK"), (3, "ALARM"), (8, "OK")]

    def test_an_alarm_over_more_than_a_day_is_judged_at_the_full_hour(self) -> None:
        declared = an_alarm(Period=3600, EvaluationPeriods=25, DatapointsToAlarm=1)
        assert states_of(declared, [6] + [0] * 120) == [(60, "ALARM")]
        assert states_of(declared | {"EvaluationPeriods": 24}, [6] + [0] * 120) == [(1, "ALARM")]

    def test_dimensions_tell_metrics_apart_in_any_order(self) -> None:
        dimensions = [{"Name": "worker", "Value": "1"}, {"Name": "machine", "Value": "web1"}]
        monitor = Monitor(Resources([an_alarm(Dimensions=dimensions)]), START)
        monitor.put(NAMESPACE, "errors", 9, START)
        monitor.put(NAMESPACE, "errors", 4, START, {"machine": "web1", "worker": "1"})
        monitor.advance(START + 60)
        assert monitor.values["errors"] == 4

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_is_no_number_is_refused(self, value: float) -> None:
        with pytest.raises(AlarmError, match="put a finite number"):
            Monitor(Resources([an_alarm()]), START).put(NAMESPACE, "errors", value, START)

    def test_a_time_in_milliseconds_is_refused(self) -> None:
        with pytest.raises(AlarmError, match="not milliseconds"):
            Monitor(Resources([an_alarm()]), START).log(GROUP, "ERROR", START * 1000)


class TestMetricMath:
    @staticmethod
    def ratio(expression: str, **changes: Any) -> dict[str, Any]:
        sums = [
            {
                "Id": name,
                "MetricStat": {"Metric": {"Namespace": NAMESPACE, "MetricName": name}, "Period": 60, "Stat": "Sum"},
                "ReturnData": False,
            }
            for name in ("bad", "good")
        ]
        plain: dict[str, Any] = {"MetricName": None, "Namespace": None, "Statistic": None, "Period": None}
        return an_alarm(**plain, Metrics=[*sums, {"Id": "e", "Expression": expression}], **changes)

    def changes(
        self, declared: dict[str, Any], minutes: list[tuple[float | None, float | None]]
    ) -> list[tuple[int, str]]:
        monitor = Monitor(Resources([declared]), START)
        for minute, values in enumerate(minutes):
            for name, value in zip(("bad", "good"), values, strict=True):
                if value is not None:
                    monitor.put(NAMESPACE, name, value, START + minute * 60)
        return history(monitor.advance(START + len(minutes) * 60))

    def test_a_ratio_without_traffic_has_no_value(self) -> None:
        declared = self.ratio("bad / (bad + good)", Threshold=0.5)
        minutes: list[tuple[float | None, float | None]] = [(6, 4), (5, 5), (0, 0), (0, 0), (0, 0)]
        assert self.changes(declared, minutes) == [(1, "ALARM"), (2, "OK"), (5, "INSUFFICIENT_DATA")]

    def test_a_function_over_the_series_sees_the_range_of_each_minute(self) -> None:
        """Worked out once a minute, FILL(…, REPEAT) would see one value only and fill nothing."""
        declared = self.ratio("FILL(bad, REPEAT)", Threshold=5)
        minutes: list[tuple[float | None, float | None]] = [(6, 1), (None, 1), (None, 1), (None, 1), (1, 1)]
        assert self.changes(declared, minutes) == [(1, "ALARM"), (4, "INSUFFICIENT_DATA"), (5, "OK")]


class TestPercentiles:
    @pytest.mark.parametrize(("low_samples", "expected"), [("evaluate", [(1, "ALARM")]), ("ignore", [])])
    def test_few_samples(self, low_samples: str, expected: list[tuple[int, str]]) -> None:
        """p95 over the probe's sixty puts has fewer than 200 samples: ignored, no slow S3 would ever be told."""
        declared = an_alarm(Statistic=None, ExtendedStatistic="p95", EvaluateLowSampleCountPercentile=low_samples)
        monitor = Monitor(Resources([declared]), START)
        for _ in range(199):
            monitor.put(NAMESPACE, "errors", 9, START)
        assert history(monitor.advance(START + 60)) == expected

    def test_enough_samples(self) -> None:
        declared = an_alarm(Statistic=None, ExtendedStatistic="p95", EvaluateLowSampleCountPercentile="ignore")
        monitor = Monitor(Resources([declared]), START)
        for _ in range(200):
            monitor.put(NAMESPACE, "errors", 9, START)
        assert history(monitor.advance(START + 60)) == [(1, "ALARM")]


class TestActions:
    def actions(self, **changes: Any) -> list[tuple[str, tuple[str, ...]]]:
        monitor = Monitor(Resources([an_alarm(**changes)]), START)
        for minute, value in enumerate((9, 9, 0, 0)):
            monitor.put(NAMESPACE, "errors", value, START + minute * 60)
        return [(each.new, each.actions) for each in monitor.advance(START + 8 * 60)]

    def test_run_on_changes_only(self) -> None:
        assert self.actions() == [("ALARM", (PAGE,)), ("OK", (RESOLVE,)), ("INSUFFICIENT_DATA", (UNKNOWN,))]

    def test_do_not_run_when_disabled(self) -> None:
        assert self.actions(ActionsEnabled=False) == [("ALARM", ()), ("OK", ()), ("INSUFFICIENT_DATA", ())]


class TestCompositeAlarms:
    @staticmethod
    def replay(composites: list[dict[str, Any]], **breaching: range) -> list[Transition]:
        """Ten minutes in which these alarms' metrics breach in these minutes."""
        monitor = Monitor(Resources([an_alarm(name) for name in breaching], composites), START)
        for name, minutes in breaching.items():
            for minute in range(12):
                monitor.put(NAMESPACE, name, 9 if minute in minutes else 0, START + minute * 60)
        return monitor.advance(START + 12 * 60)

    def test_follow_in_the_same_minute_children_first(self) -> None:
        composites = [a_composite("outer", 'ALARM("inner")'), a_composite("inner", "ALARM(a) AND NOT ALARM(b)")]
        seen = self.replay(composites, a=range(2, 9), b=range(4, 6))
        assert history(seen, "inner") == [(1, "OK"), (3, "ALARM"), (5, "OK"), (7, "ALARM"), (10, "OK")]
        assert history(seen, "outer") == history(seen, "inner")
        assert [each.actions for each in seen if each.alarm == "outer"][1:] == [
            (PAGE,),
            (RESOLVE,),
            (PAGE,),
            (RESOLVE,),
        ]

    def sendings(self, breaching: range, silent: range) -> list[tuple[int, str, str, tuple[str, ...]]]:
        suppressed = a_composite(
            "incident",
            "ALARM(a)",
            ActionsSuppressor="silence",
            ActionsSuppressorWaitPeriod=60,
            ActionsSuppressorExtensionPeriod=120,
        )
        seen = self.replay([suppressed], a=breaching, silence=silent)
        return [
            (int(each.at - START) // 60, each.kind, each.new, each.actions)
            for each in seen
            if each.alarm == "incident" and each.at > START + 120  # the first OK
        ]

    def test_a_period_that_ended_between_two_minutes_sends_before_the_change(self) -> None:
        """A resolve whose page was never sent tells nobody that there was an outage."""
        suppressed = a_composite(
            "incident",
            "ALARM(a)",
            ActionsSuppressor="silence",
            ActionsSuppressorWaitPeriod=0,
            ActionsSuppressorExtensionPeriod=90,
        )
        seen = self.replay([suppressed], a=range(2, 7), silence=range(1, 5))
        assert [(int(each.at - START) // 60, each.kind, each.new, each.actions) for each in seen[-2:]] == [
            (8, "action", "ALARM", (PAGE,)),
            (8, "composite", "OK", (RESOLVE,)),
        ]

    def test_a_page_waits_for_the_suppressor_and_is_sent_then(self) -> None:
        """A page that a wait swallows is an outage that nobody hears of."""
        assert self.sendings(range(2, 5), range(0)) == [
            (3, "composite", "ALARM", ()),
            (4, "action", "ALARM", (PAGE,)),
            (6, "composite", "OK", ()),
            (7, "action", "OK", (RESOLVE,)),
        ]

    def test_what_is_over_in_silence_pages_nobody(self) -> None:
        """A drill must not wake anybody; an OK after it resolves what was never raised, and is harmless."""
        seen = self.sendings(range(3, 5), range(1, 8))
        assert [change[:3] for change in seen[:2]] == [(4, "composite", "ALARM"), (6, "composite", "OK")]
        assert {actions for *_, actions in seen} == {(), (RESOLVE,)}

    def test_what_outlasts_the_silence_is_sent_after_its_extension(self) -> None:
        seen = self.sendings(range(3, 12), range(1, 6))
        assert seen == [(4, "composite", "ALARM", ()), (9, "action", "ALARM", (PAGE,))]


def broken(kind: str, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    document = {
        "MetricAlarm": [an_alarm()],
        "CompositeAlarm": [a_composite("incident", "ALARM(errors)")],
        "MetricFilter": [a_filter('"ERROR"')],
    }
    changed = document[kind][0] | changes
    return document | {kind: [{key: value for key, value in changed.items() if value is not None}]}


class TestResources:
    @pytest.mark.parametrize(
        ("document", "sentence"),
        [
            ([], "the resources are no object"),
            ({"MetricAlarms": []}, "the resources are no object"),
            ({"MetricAlarm": {}}, "MetricAlarm is no list"),
            (broken("MetricAlarm", AlarmName=None), "metric alarm 1: AlarmName is missing"),
            (broken("MetricAlarm", MetricName=None), "metric alarm errors: MetricName is missing"),
            (broken("MetricAlarm", Period=90), "metric alarm errors: Period is 90"),
            (broken("MetricAlarm", Statistic="Median"), "metric alarm errors: statistic 'Median'"),
            (broken("MetricAlarm", TreatMissingData="good"), "metric alarm errors: TreatMissingData is 'good'"),
            (broken("MetricAlarm", Threshold=None), "metric alarm errors: Threshold is None"),
            (broken("MetricAlarm", EvaluationPeriods=1441), "above 86400 s"),
            (broken("MetricAlarm", EvaluationPeriods=169, Period=3600), "above 604800 s"),
            (broken("MetricAlarm", Metrics=[{"Id": "a", "Expression": "1 +"}]), "metric alarm errors: "),
            (broken("CompositeAlarm", AlarmRule=None), "composite alarm incident: AlarmRule is missing"),
            (broken("CompositeAlarm", AlarmRule="ALARM(errors) AND"), "composite alarm incident: "),
            (broken("CompositeAlarm", AlarmRule="ALARM(eror)"), "composite alarm incident: it names eror"),
            (broken("CompositeAlarm", AlarmRule="ALARM(incident)"), "in a circle"),
            (broken("CompositeAlarm", ActionsSuppressor="errors"), "incident: ActionsSuppressorWaitPeriod is None"),
            (broken("CompositeAlarm", AlarmName="errors", AlarmRule="TRUE"), "'errors' is declared twice"),
            (broken("MetricFilter", logGroupName=None), "metric filter errors: logGroupName is missing"),
            (broken("MetricFilter", filterPattern="{ $.a = "), "metric filter errors: "),
            (broken("MetricFilter", metricTransformations=[]), "metric filter errors: metricTransformations has 0"),
            (broken("MetricFilter", metricTransformations=[{"metricName": "a"}]), "metricNamespace is missing"),
        ],
    )
    def test_what_aws_would_refuse_is_refused_by_name(self, document: object, sentence: str) -> None:
        """The stand-ins refuse no impossible alarm; refused by AWS at `pulumi up`, it leaves none at all."""
        with pytest.raises(AlarmError, match=sentence):
            Resources.from_document(document)

    def test_what_describe_calls_add_is_accepted(self) -> None:
        document = broken("MetricAlarm", StateValue="OK", AlarmArn="arn:x", StateUpdatedTimestamp="2026-01-01")
        assert Resources.from_document(document).log_group == GROUP

    def test_two_log_groups_cannot_be_replayed(self) -> None:
        filters = [a_filter('"a"'), a_filter('"b"') | {"logGroupName": "/other"}]
        with pytest.raises(AlarmError, match="2 log groups"):
            _ = Resources([], (), filters).log_group

    def test_a_file_is_named(self, tmp_path: Any) -> None:
        path = tmp_path / "resources.json"
        with pytest.raises(AlarmError, match=r"resources\.json: cannot be read"):
            load(str(path))
        path.write_text("{")
        with pytest.raises(AlarmError, match=r"resources\.json: is no JSON"):
            load(str(path))
        path.write_text(json.dumps(broken("MetricAlarm", Period=7)))
        with pytest.raises(AlarmError, match=r"resources\.json: metric alarm errors: Period is 7"):
            load(str(path))
        path.write_text(json.dumps(broken("MetricAlarm")))
        assert load(str(path)).metric_alarms[0]["AlarmName"] == "errors"

    def test_an_unknown_stack_is_named(self) -> None:
        with pytest.raises(AlarmError, match="stack:nowhere: the program declares nothing"):
            load("stack:nowhere")


settings_of_an_alarm = st.fixed_dictionaries(
    {
        "Period": st.sampled_from([60, 120, 300]),
        "EvaluationPeriods": st.integers(1, 4),
        "TreatMissingData": st.sampled_from(["missing", "ignore", "breaching", "notBreaching"]),
        "Threshold": st.integers(0, 8),
    }
)


@settings(max_examples=60)
@given(
    settings_of_an_alarm,
    st.integers(1, 4),
    st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=40),
    st.lists(st.integers(1, 8), min_size=1),
)
def test_states_are_those_of_each_evaluation_alone(
    chosen: dict[str, Any], datapoints: int, values: list[int | None], steps: list[int]
) -> None:
    """What is remembered between minutes, and how many are judged at once, must not change any state."""
    declared = an_alarm(**chosen, DatapointsToAlarm=min(datapoints, chosen["EvaluationPeriods"]))
    length, count = declared["Period"] // 60, declared["EvaluationPeriods"] + 2
    state, expected = "INSUFFICIENT_DATA", []
    for end in range(1, len(values) + 1):
        windows = [
            values[max(last - length, 0) : max(last, 0)] for last in range(end - (count - 1) * length, end + 1, length)
        ]
        real = [[value for value in window if value is not None] for window in windows]
        new = evaluate(declared, [float(sum(window)) if window else None for window in real], state).state
        if new != state:
            expected.append((end, new))
        state = new

    monitor = Monitor(Resources([declared]), START)
    seen, minute = [], 0
    for number in range(len(values)):
        step = steps[number % len(steps)]
        for each in range(minute, min(minute + step, len(values))):
            if (value := values[each]) is not None:
                monitor.put(NAMESPACE, "errors", value, START + each * 60)
        minute = min(minute + step, len(values))
        seen += history(monitor.advance(START + minute * 60))
    assert seen == expected
