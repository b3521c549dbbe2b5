"""Declared alarms and metric filters in AWS's API shape, loaded whole and refused where AWS would refuse them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cutover.alarm_table import longest_range
from cutover.alarms.composites import check_composite, children_first, named_alarms
from cutover.alarms.errors import AlarmError
from cutover.alarms.filters import check_filter
from cutover.alarms.measures import compile_measure
from cutover.alarms.states import evaluate

__all__ = ["Resources", "load"]

Shape = Mapping[str, Any]
STACK = "stack:"
LOAD_SECONDS = 120  # the Pulumi program loads its SDK for about 5 s


@dataclass(frozen=True)
class Resources:
    """Metric alarms, composite alarms and metric filters, checked as a whole.

    Their shapes are those of PutMetricAlarm, PutCompositeAlarm and PutMetricFilter; what describe calls add is not
    looked at.

    Raises:
        AlarmError: one of them is not what AWS takes, or names an alarm that is not there; names resource and key.
    """

    metric_alarms: Sequence[Shape]
    composite_alarms: Sequence[Shape] = ()
    metric_filters: Sequence[Shape] = ()

    def __post_init__(self) -> None:
        for kind, key, given, check in (
            ("metric alarm", "AlarmName", self.metric_alarms, _check_metric_alarm),
            ("composite alarm", "AlarmName", self.composite_alarms, check_composite),
            ("metric filter", "filterName", self.metric_filters, check_filter),
        ):
            for number, resource in enumerate(given, start=1):
                with _named(f"{kind} {resource.get(key, number)}"):
                    if not isinstance(resource.get(key), str):
                        raise AlarmError(f"{key} is missing: name it")
                    check(resource)
        self._check_names()
        children_first(self.composite_alarms)

    @classmethod
    def from_document(cls, document: object) -> Resources:
        """From {"MetricAlarm": […], "CompositeAlarm": […], "MetricFilter": […]}; other keys are other resources.

        Raises:
            AlarmError: as for the class, or the document has another form.
        """
        kinds = ("MetricAlarm", "CompositeAlarm", "MetricFilter")
        if not isinstance(document, Mapping) or not any(kind in document for kind in kinds):
            raise AlarmError(f"the resources are no object with {', '.join(kinds)}: print them with rehearsal.declared")
        lists = [document.get(kind, []) for kind in kinds]
        for kind, resources in zip(kinds, lists, strict=True):
            if not isinstance(resources, list) or not all(isinstance(each, Mapping) for each in resources):
                raise AlarmError(f"{kind} is no list of objects: print the resources with rehearsal.declared")
        return cls(*lists)

    @property
    def log_group(self) -> str:
        """The one log group that the filters read.

        Raises:
            AlarmError: there are several, or no filter at all.
        """
        groups = {declared["logGroupName"] for declared in self.metric_filters}
        if len(groups) != 1:
            raise AlarmError(
                f"the metric filters read {len(groups)} log groups, and a replay feeds one: give one stack"
            )
        return str(groups.pop())

    def _check_names(self) -> None:
        names = [resource["AlarmName"] for resource in (*self.metric_alarms, *self.composite_alarms)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise AlarmError(f"alarm {twice[0]!r} is declared twice: AlarmName is one per account and region")
        for composite in self.composite_alarms:
            for name in named_alarms(composite):
                if name not in names:
                    raise AlarmError(
                        f"composite alarm {composite['AlarmName']}: it names {name}, which is not declared: correct "
                        "AlarmRule or ActionsSuppressor, or declare that alarm"
                    )


def load(source: str) -> Resources:
    """Reads the resources from a JSON file, or, for `stack:production`, from what the Pulumi program declares.

    Raises:
        AlarmError: the source cannot be read, or a resource in it is not what AWS takes.
    """
    text = _declared(source.removeprefix(STACK)) if source.startswith(STACK) else _read(Path(source))
    try:
        document = json.loads(text)
    except ValueError as error:
        raise AlarmError(f"{source}: is no JSON ({error}): print it with rehearsal.declared") from error
    with _named(source):
        return Resources.from_document(document)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AlarmError(f"{path}: cannot be read ({error}): give a JSON file of resources") from error


def _declared(stack: str) -> str:
    if find_spec("rehearsal") is None:
        raise AlarmError(
            f"{STACK}{stack} needs a checkout of the repository with its Pulumi program: run there, or give --resources"
        )
    command = [sys.executable, "-m", "rehearsal.declared", stack]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_SECONDS, check=True)
    except subprocess.TimeoutExpired as error:
        raise AlarmError(f"{STACK}{stack}: the program did not end within {LOAD_SECONDS} s: run it by hand") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise AlarmError(f"{STACK}{stack}: the program declares nothing ({last}): run `pulumi preview`") from error
    return done.stdout


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Puts the resource before the sentence of whatever is wrong with it."""
    try:
        yield
    except AlarmError as error:
        raise AlarmError(f"{what}: {error}") from error


def _check_metric_alarm(alarm: Shape) -> None:
    measure = compile_measure(alarm)
    evaluate(alarm, [], "OK")
    seconds = measure.minutes * 60
    longest = longest_range(seconds)
    if seconds * alarm["EvaluationPeriods"] > longest:
        raise AlarmError(f"Period times EvaluationPeriods is above {longest} s, AWS's limit for {seconds} s: lower one")
