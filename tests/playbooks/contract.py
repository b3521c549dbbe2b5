"""What every playbook and role keeps to: each rule yields a sentence for each place that does not."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import jinja2
import yaml
from jinja2 import nodes

from cutover import plan, soak, step_measures
from tests.playbooks.local_play import PLAYBOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LINES = "__lines__"  # of a mapping's keys, beside the keys
_BLOCKS = ("block", "rescue", "always")
_TASK_LISTS = ("pre_tasks", "tasks", "post_tasks", "handlers")
_TOLD = re.compile(r"#.*\b(judged|judges|named|names)\b")
_STEP = re.compile(r"go-live-step(\d+)\.yml")
_TAGS = {"preflight", "act", "daily", "verify", "record"}
# The emergency looks at nothing before it acts, and needs no Python on a machine; the inventory's drain_command and
# undrain_command are lines of shell.
_RAW_ALLOWED = {"emergency-rollback.yml", "parts/put_copies_back.yml", "parts/fence.yml", "unfence.yml"}
# Tasks whose outcome is asked for in another way than by their result.
ASKED_OTHERWISE = {
    "Run the tool once: {{ data_tools_unit.name }}": "the next tasks ask systemd how it ended, and what it said",
}


class _Loader(yaml.SafeLoader):
    """Keeps the line of each key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        lines = {self.construct_object(key): key.start_mark.line for key, _ in node.value}
        return {**mapping, LINES: lines}


@dataclass(frozen=True)
class Book:
    """A file of plays, tasks or variables: its path below playbooks/, its text, and what that says."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Book:
        """The file at this path."""
        return cls(str(path.relative_to(PLAYBOOKS)), path.read_text())

    @property
    def content(self) -> Any:
        """What the file says; mappings hold the lines of their keys."""
        return yaml.load(self.text, _Loader) or []  # noqa: S506 - a SafeLoader

    @property
    def plays(self) -> list[dict[str, Any]]:
        """Its plays and imported playbooks; none in a file of tasks or variables."""
        found = self.content
        return [
            item for item in found if isinstance(found, list) and ("hosts" in item or "import_playbook" in _short(item))
        ]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Its tasks and blocks, those within blocks, too, in the order of the file."""
        if isinstance(self.content, dict):
            return []
        listed = [play.get(part, []) for play in self.plays for part in _TASK_LISTS] if self.plays else [self.content]
        return [task for tasks in listed for task in _flat(tasks)]

    @property
    def step(self) -> int | None:
        """The step's number, if it is a step's playbook."""
        found = _STEP.fullmatch(self.name)
        return int(found[1]) if found else None

    def line(self, mapping: dict[str, Any], key: str) -> str:
        """The text of the line on which a key stands."""
        line: int = mapping[LINES][key]
        return self.text.splitlines()[line]

    def at(self, mapping: dict[str, Any]) -> str:
        """Where a play or task stands, for a sentence."""
        return f"{self.name}:{min(mapping[LINES].values()) + 1}"


class Rule(Protocol):
    """Yields a sentence for each place of a file that does not keep it."""

    __name__: str

    def __call__(self, book: Book, /) -> Iterator[str]: ...


def books() -> list[Book]:
    """All playbooks, and all files of tasks and handlers of the roles."""
    paths = [*PLAYBOOKS.glob("*.yml"), *PLAYBOOKS.glob("parts/*.yml"), *PLAYBOOKS.glob("roles/*/*/*.yml")]
    parts = {"tasks", "handlers", "parts", PLAYBOOKS.name}
    return [Book.read(path) for path in sorted(paths) if path.parent.name in parts]


def variable_files() -> list[Book]:
    """All files of variables; inventories hold the site's own numbers and are none."""
    return [Book.read(path) for part in ("vars/*.yml", "roles/*/[dv]*/*.yml") for path in sorted(PLAYBOOKS.glob(part))]


def _flat(tasks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in _BLOCKS:
            yield from _flat(task.get(part, []))


def _short(task: dict[str, Any]) -> dict[str, Any]:
    """The same with module names without their collection."""
    return {str(key).removeprefix("ansible.builtin.").removeprefix("ansible.legacy."): task[key] for key in task}


def names_present(book: Book) -> Iterator[str]:
    """At 3 a.m. the name is what one reads."""
    for item in [*book.plays, *book.tasks]:
        if not str(item.get("name") or "").strip():
            yield f"{book.at(item)} has no name: say what it does, and to what"


def no_ignored_errors(book: Book) -> Iterator[str]:
    """An ignored error is the one that matters."""
    for item in [*book.plays, *book.tasks]:
        if "ignore_errors" in item:
            yield f"{book.at(item)} ignores errors: register the result and judge it"


def includes_name_a_file(book: Book) -> Iterator[str]:
    """Ansible reads `a == b` of a free form as the option `a`, and fails on the day on which the task is played."""
    for task in book.tasks:
        for name, value in _short(task).items():
            if name in {"include_tasks", "import_tasks"} and isinstance(value, str) and "=" in value:
                yield f"{book.at(task)}: `{name}: {value}` is read as options: write the file below, as `file:`"


def no_shell(book: Book) -> Iterator[str]:
    """A shell swallows the failure of all but the last program, and reads `$` in a value."""
    for task in book.tasks:
        short = _short(task)
        shells: list[str] = [name for name in ("shell", "raw") if name in short]
        words = str({key: short[key] for key in ("command", "script") if key in short})
        if re.search(r"['\" /](ba|da)?sh['\"]?, *['\"]-\w*c|\b(ba|da)?sh -\w*c\b", words):
            shells.append("a command that starts a shell")
        if shells and not (shells == ["raw"] and book.name in _RAW_ALLOWED):
            yield f"{book.at(task)} uses {shells[0]}: use a module, or one program and its arguments"


def unjudged_results_are_used(book: Book) -> Iterator[str]:
    """`failed_when: false` is half a sentence: whoever lets a failure pass judges it later, and says so."""
    for task in book.tasks:
        if str(task.get("failed_when")).lower() == "false":
            if not _TOLD.search(book.line(task, "failed_when")):
                yield f"{book.at(task)}: `failed_when: false` does not say where it is judged or named"
            if not _used(book, task):
                yield f"{book.at(task)}: `failed_when: false`, and nothing looks at its result"
        if task.get("ignore_unreachable") and not _used(book, task):
            reason = book.line(task, "ignore_unreachable").partition("#")[2]
            if not reason.strip():
                yield f"{book.at(task)}: an unreachable machine is passed over, and nothing looks at the result"


def _used(book: Book, task: dict[str, Any]) -> bool:
    """Whether the registered result of a task is looked at: later in its file, or in another one."""
    name = task.get("register")
    if not name:
        return task.get("name") in ASKED_OTHERWISE
    later = "\n".join(book.text.splitlines()[task[LINES]["register"] + 1 :])
    others = (text for where, text in _texts() if where != book.name)
    return any(re.search(rf"\b{name}\b", text) for text in (later, *others))


@cache
def _texts() -> list[tuple[str, str]]:
    """All that may look at a result: playbooks, roles, and the package, which the filters hand it to."""
    programs = (PLAYBOOKS.parent / "scripts/cutover").glob("*.py")
    return [(book.name, book.text) for book in books()] + [(path.name, path.read_text()) for path in programs]


def asserts_say_why(book: Book) -> Iterator[str]:
    """Ansible's own words are "Assertion failed"."""
    for task in book.tasks:
        short = _short(task)
        if "assert" in short and not (short["assert"] or {}).get("fail_msg"):
            yield f"{book.at(task)} has no fail_msg: say what was seen, what was expected, and what to run"
        if "fail" in short and not (short["fail"] or {}).get("msg"):
            yield f"{book.at(task)} has no msg: say what was seen, what was expected, and what to run"


def delegates_may_be_unreachable(book: Book) -> Iterator[str]:
    """An unreachable delegate ends the play at once, and neither `rescue` nor `always` takes anything back.

    With any_errors_fatal, which a play over workers has, Ansible fails the host all the same, without a word of the
    cause, and ends what takes things back. The rule holds for every task: every role may be part of such a play.
    """

    def look(tasks: Sequence[dict[str, Any]], inherited: bool) -> Iterator[str]:
        for task in tasks:
            passes = bool(task.get("ignore_unreachable", inherited))
            if task.get("delegate_to", "localhost") != "localhost" and not passes:
                yield f"{book.at(task)} is delegated without ignore_unreachable: its loss would skip rescue and always"
            if task.get("ignore_unreachable") is True and task.get("any_errors_fatal") is not False:
                yield f"{book.at(task)} has ignore_unreachable without `any_errors_fatal: false`, which undoes it"
            for part in _BLOCKS:
                yield from look(task.get(part, []), passes)

    if isinstance(book.content, list):
        for tasks in [play.get(part, []) for play in book.plays for part in _TASK_LISTS] or [book.content]:
            yield from look([task for task in tasks if "hosts" not in task], inherited=False)


def header_tells_the_usage(book: Book) -> Iterator[str]:
    """The first lines are what one opens the file for."""
    if "/" in book.name:
        return
    lines = [line for line in book.text.splitlines() if line != "---"]
    header = "\n".join(lines[: next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))])
    wanted = {f"#   ansible-playbook {book.name}": "how it is called"}
    if book.step:
        wanted[f"# Step {book.step}: "] = "which step it is"
        wanted[f'# Runbook: "Step {book.step}: '] = "the runbook's section"
        wanted[f"#   ansible-playbook {book.name} --check"] = "that --check only looks"
    for text, what in wanted.items():
        if text not in header:
            yield f"{book.name}: its first lines do not tell {what} (`{text}…`)"


def step_has_its_frame(book: Book) -> Iterator[str]:
    """Preflight, act, verify, record; everything else is taken for granted by the tooling and by people."""
    if book.step is None:
        return
    first, *plays = book.plays or [{}]
    if _short(first).get("import_playbook") != "parts/preflight.yml":
        yield f"{book.name} does not begin with parts/preflight.yml"
    tags = {tag for play in plays for tag in play.get("tags", [])}
    if missing := {"act", "verify", "record"} - tags:
        yield f"{book.name} has no play with the tag {', '.join(sorted(missing))}"
    for play in book.plays:
        if play.get("vars", {}).get("step_number") != book.step:
            yield f"{book.at(play)} does not say `step_number: {book.step}`"
    for play in plays:
        if "vars/step.yml" not in play.get("vars_files", []):
            yield f"{book.at(play)} does not load vars/step.yml"
        for task in play.get("tasks", []):
            if "not ansible_check_mode" not in str(task.get("when")):
                yield f"{book.at(task)} has no `when: not ansible_check_mode`: under --check a step only looks"


def preflight_is_in_every_tag(book: Book) -> Iterator[str]:
    """`--tags act` without the preflight would act on anything."""
    if book.name != "parts/preflight.yml":
        return
    for play in book.plays:
        if set(play.get("tags", [])) != _TAGS:
            yield f"{book.at(play)} is left out by one of the tags {', '.join(sorted(_TAGS))}"


def failures_are_taken_back(book: Book) -> Iterator[str]:
    """A step that fails goes back, is recorded, and lets the next one begin."""
    if book.step is None:
        return
    for play in book.plays:
        tags = set(play.get("tags", []))
        blocks = [task for task in play.get("tasks", []) if "block" in task]
        if {"verify", "record"} & tags and not blocks:
            yield f"{book.at(play)} verifies outside of a block: nothing would take it back"
        for block in blocks:
            rescued = _reached(block.get("rescue", []))
            always = _reached(block.get("always", []))
            if "daily" in tags:  # a day's check seals its own verdict; what broke off leaves the day without a PASS
                if ("preflight", "unlock") not in always:
                    yield f"{book.at(block)}: it keeps the lock"
                continue
            if ("step", "fail") not in rescued:
                yield f"{book.at(block)}: its rescue does not end the step (role step, fail)"
            if ("preflight", "unlock") not in (always if "record" in tags else always | rescued):
                yield f"{book.at(block)}: it does not always release the lock (role preflight, unlock)"


def _reached(tasks: Sequence[dict[str, Any]], role: str = "") -> set[tuple[str, str]]:
    """Role and file of tasks of everything that these tasks include, and that those do."""
    found: set[tuple[str, str]] = set()
    for task in _flat(tasks):
        short = _short(task)
        included = short.get("include_role") or short.get("import_role")
        if included:
            found.add((included["name"], included.get("tasks_from", "main")))
        elif role and isinstance(short.get("include_tasks"), str):
            found.add((role, short["include_tasks"].removesuffix(".yml")))
    for name, part in tuple(found):
        path = PLAYBOOKS / f"roles/{name}/tasks/{part}.yml"
        if path.exists() and (name, part) != (role, "wait"):  # which includes itself
            found |= _reached(Book.read(path).tasks, name)
    return found


def criteria_are_measured(book: Book) -> Iterator[str]:
    """A criterion that nothing measures is INCONCLUSIVE for ever; a measurement without a criterion judges nothing."""
    if book.step is None:
        return
    wanted, measured = set(plan.load().steps[book.step].criteria), set()
    for task in book.tasks:
        value = task.get("vars", {}).get("step_measured", {})
        measured |= _measured(value)
        if "soak_measured" in str(value):  # all of the table's ratios, of which the step asks for some
            measured |= wanted & set(soak.measure(plan.load(), {}, {}))
    if wanted - measured:
        yield f"{book.name} does not measure {', '.join(sorted(wanted - measured))}"
    if measured - wanted:
        yield f"{book.name} measures {', '.join(sorted(measured - wanted))}, which the table does not ask for"


def _measured(value: Any) -> set[str]:
    """The criteria of a `step_measured`: its own keys, and those of the filters `measures` in it."""
    if isinstance(value, dict):
        return {str(key) for key in value if key != LINES}
    keys: set[str] = set()
    tree = jinja2.Environment(autoescape=False).parse(value)  # noqa: S701 - nothing is rendered
    for used in tree.find_all(nodes.Filter):
        if used.name == "measures":
            given = {pair.key.as_const() for pair in used.node.items} if isinstance(used.node, nodes.Dict) else set()
            keys |= _given(used.args[0].as_const(), given)
        if used.name == "combine":
            own = (argument for argument in used.args if isinstance(argument, nodes.Dict))
            keys |= {pair.key.as_const() for argument in own for pair in argument.items}
    return keys


def _given(kind: str, documents: set[str]) -> set[str]:
    """The criteria that a measure gives; what it would fail on stands among them, and so is named."""
    if kind not in step_measures.MEASURES:
        return {f"{kind!r} that step_measures lacks"}
    wrong = set(inspect.signature(step_measures.MEASURES[kind]).parameters) ^ documents
    return keys_measured(kind) | ({f"{kind} with {', '.join(sorted(wrong))} too many or too few"} if wrong else set())


def keys_measured(kind: str) -> set[str]:
    """The criteria that a function of step_measures.MEASURES gives, from the literal that it returns."""
    tree = ast.parse(inspect.getsource(step_measures.MEASURES[kind]))
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    return {
        key.value
        for value in returned
        if isinstance(value, ast.Dict)
        for key in value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


RULES: tuple[Rule, ...] = (
    names_present,
    no_ignored_errors,
    includes_name_a_file,
    no_shell,
    unjudged_results_are_used,
    asserts_say_why,
    delegates_may_be_unreachable,
    header_tells_the_usage,
    step_has_its_frame,
    preflight_is_in_every_tag,
    failures_are_taken_back,
    criteria_are_measured,
)
