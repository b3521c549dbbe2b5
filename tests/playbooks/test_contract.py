"""Every playbook and every role keeps the contract, and each rule says no to what breaks it."""

from __future__ import annotations

import pytest

from cutover import plan, step_measures
from tests.playbooks import contract, contract_numbers
from tests.playbooks.contract import Book

STEPS = [book for book in contract.books() if book.step]
RULES: tuple[contract.Rule, ...] = (*contract.RULES, contract_numbers.numbers_come_from_the_table)


@pytest.mark.parametrize("book", contract.books(), ids=lambda book: book.name)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_playbooks_and_roles_keep_the_contract(rule: contract.Rule, book: Book) -> None:
    assert list(rule(book)) == []


@pytest.mark.parametrize("book", contract.variable_files(), ids=lambda book: book.name)
def test_variables_hold_no_number_of_the_table(book: Book) -> None:
    assert list(contract_numbers.numbers_come_from_the_table(book)) == []


def test_the_contract_has_something_to_judge() -> None:
    """A pattern that finds no file would keep every rule."""
    assert {book.step for book in STEPS} == set(plan.load().steps)
    assert {"parts/preflight.yml", "emergency-rollback.yml", "roles/step/tasks/fail.yml"} <= {
        book.name for book in contract.books()
    }
    assert any(task.get("register") == "data_command_result" for book in contract.books() for task in book.tasks)
    assert {0.95, 0.005, 100, 300, 1000, 604800} <= contract_numbers.numbers_of_the_table()


def test_each_exception_is_still_needed() -> None:
    """An exception that nothing needs any more admits the next mistake."""
    found = {
        (book.name, key, number)
        for book in [*contract.books(), *contract.variable_files()]
        for key, number in contract_numbers.numbers_in(book)
    }
    assert set(contract_numbers.ALLOWED) <= found
    names = {task.get("name") for book in contract.books() for task in book.tasks}
    assert set(contract.ASKED_OTHERWISE) <= names


@pytest.mark.parametrize("kind", step_measures.MEASURES)
def test_the_measured_criteria_can_be_read_from_the_source(kind: str) -> None:
    """A measure that is put together in another way would count as measuring nothing, or as anything."""
    criteria = {name for step in plan.load().steps.values() for name in step.criteria}
    assert contract.keys_measured(kind)
    assert contract.keys_measured(kind) <= criteria


GOOD = """---
# Step 2: the backfill as a dry run.
# Runbook: "Step 2: Run Backfill Dry-Run".
#   ansible-playbook go-live-step2.yml            do it
#   ansible-playbook go-live-step2.yml --check    would it start?
- name: "Step 2 preflight"
  ansible.builtin.import_playbook: parts/preflight.yml
  vars:
    step_number: 2

- name: "Step 2 act, verify and record"
  hosts: localhost
  vars_files: [vars/step.yml]
  vars:
    step_number: 2
  tags: [act, verify, record]
  tasks:
    - name: "Do it, and judge it"
      when: not ansible_check_mode
      block:
        - name: "Dry run"
          ansible.builtin.command: cutover backfill --dry-run
          delegate_to: elsewhere
          register: dry_run
          failed_when: false # judged below, with a sentence
          ignore_unreachable: true
          any_errors_fatal: false

        - name: "Refuse to judge what could not be measured"
          ansible.builtin.assert:
            that: dry_run.rc == 0
            fail_msg: "it ended with {{ dry_run.rc }}"

        - name: "Judge"
          ansible.builtin.include_role:
            name: step
            tasks_from: judge
          vars:
            step_measured: "{{ {'first': a, 'resumed': b} | measures('dry_run') }}"
      rescue:
        - name: "Record, and end the step"
          ansible.builtin.include_role:
            name: step
            tasks_from: fail
      always:
        - name: "Release the lock"
          ansible.builtin.include_role:
            name: preflight
            tasks_from: unlock
"""
UNLOCK = GOOD[GOOD.index("      always:") :]
MEASURED = "\"{{ {'first': a, 'resumed': b} | measures('dry_run') }}\""
ADDED = "        - name: Added\n          "
BEFORE_JUDGE = '        - name: "Judge"\n'


def broken(old: str, new: str, name: str = "go-live-step2.yml") -> Book:
    """The good playbook with one thing changed."""
    assert GOOD.count(old) == 1, old
    return Book(name, GOOD.replace(old, new))


def added(task: str) -> Book:
    """The good playbook with one task more, whose name is there already."""
    return broken(BEFORE_JUDGE, f"{ADDED}{task}\n\n{BEFORE_JUDGE}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_keeps_the_contract_is_not_refused(rule: contract.Rule) -> None:
    assert list(rule(Book("go-live-step2.yml", GOOD))) == []


@pytest.mark.parametrize(
    ("rule", "book", "sentence"),
    [
        ("names_present", broken('        - name: "Dry run"\n          ans', "        - ans"), ":21 has no name"),
        ("names_present", broken('"Do it, and judge it"', '""'), ":18 has no name"),
        ("no_ignored_errors", added("ignore_errors: true"), "ignores errors"),
        ("no_ignored_errors", broken("  hosts: localhost", "  hosts: all\n  ignore_errors: true"), ":11 ignores"),
        ("includes_name_a_file", added("include_tasks: \"{{ 'a' if b == 'c' else 'd' }}.yml\""), "as options"),
        ("includes_name_a_file", added("ansible.builtin.import_tasks: file=a.yml"), "write the file below"),
        ("no_shell", added("ansible.builtin.shell: a | b"), "uses shell"),
        ("no_shell", added("shell: a | b"), "uses shell"),
        ("no_shell", added("ansible.builtin.raw: sudo reboot"), "uses raw"),
        ("no_shell", added("ansible.builtin.command: {argv: [/bin/sh, -c, a]}"), "a command that starts a shell"),
        ("no_shell", added("ansible.builtin.command: bash -c 'a | b'"), "a command that starts a shell"),
        ("no_shell", added("ansible.builtin.command: {argv: \"{{ ['sh', '-ec', a] }}\"}"), "that starts a shell"),
        ("unjudged_results_are_used", broken(" # judged below, with a sentence", ""), "does not say where"),
        ("unjudged_results_are_used", broken("judged below, with a sentence", "may fail"), "does not say where"),
        ("unjudged_results_are_used", broken("register: dry_run", "register: never_read"), "nothing looks at"),
        ("unjudged_results_are_used", broken("          register: dry_run\n", ""), "nothing looks at"),
        ("unjudged_results_are_used", added("failed_when: 'false' # named below"), "nothing looks at"),
        ("unjudged_results_are_used", added("ignore_unreachable: true"), "is passed over, and nothing looks"),
        ("asserts_say_why", broken('\n            fail_msg: "it ended with {{ dry_run.rc }}"', ""), "no fail_msg"),
        ("asserts_say_why", added("ansible.builtin.fail:"), "has no msg"),
        ("delegates_may_be_unreachable", broken("          ignore_unreachable: true\n", ""), ":21 is delegated"),
        ("delegates_may_be_unreachable", broken("unreachable: true", "unreachable: false"), ":21 is delegated"),
        ("delegates_may_be_unreachable", broken("fatal: false", "fatal: true"), ":21 has ignore_unreachable"),
        ("header_tells_the_usage", broken('# Runbook: "Step 2: R', '# Runbook: "Step 3: R'), "runbook's section"),
        ("header_tells_the_usage", broken("# Step 2: the", "# The"), "which step it is"),
        ("header_tells_the_usage", broken("step2.yml --check", "step2.yml -C"), "that --check only looks"),
        ("header_tells_the_usage", Book("fleet.yml", "---\n# What it holds.\n- name: a\n"), "how it is called"),
        ("step_has_its_frame", broken("parts/preflight.yml", "parts/other.yml"), "does not begin with"),
        ("step_has_its_frame", broken("[act, verify, record]", "[act, verify]"), "the tag record"),
        ("step_has_its_frame", broken("yml\n  vars:\n    step_number: 2", "yml"), ":6 does not say"),
        ("step_has_its_frame", broken("]\n  vars:\n    step_number: 2", "]\n  vars:\n    a: 3"), ":11 does not say"),
        ("step_has_its_frame", broken("  vars_files: [vars/step.yml]\n", ""), "does not load vars/step.yml"),
        ("step_has_its_frame", broken("      when: not ansible_check_mode\n", ""), "under --check a step only looks"),
        (
            "preflight_is_in_every_tag",
            Book("parts/preflight.yml", "- name: a\n  hosts: all\n  tags: [preflight, act, record]\n"),
            "is left out by one of the tags",
        ),
        ("failures_are_taken_back", broken(UNLOCK, ""), "does not always release the lock"),
        ("failures_are_taken_back", broken("tasks_from: unlock", "tasks_from: machine"), "does not always release"),
        ("failures_are_taken_back", broken("tasks_from: fail", "tasks_from: judge"), "does not end the step"),
        ("criteria_are_measured", broken("measures('dry_run')", "measures('sample')"), "does not measure errors"),
        ("criteria_are_measured", broken("measures('dry_run')", "measures('sample')"), "measures full_downloads"),
        ("criteria_are_measured", broken("measures('dry_run')", "measures('dry')"), "'dry' that step_measures lacks"),
        ("criteria_are_measured", broken("'resumed': b", "'resume': b"), "dry_run with resume, resumed too many"),
        ("criteria_are_measured", broken(MEASURED, "soak_measured"), "does not measure errors, hash_mismatches"),
        ("criteria_are_measured", broken(MEASURED, "{errors: [0, 1], hash_mismatches: [0, 1]}"), "resume_token_valid"),
        (
            "criteria_are_measured",
            broken("('dry_run') }}", "('dry_run') | combine({'more': [0, 1]}) }}"),
            "measures more, which the table does not ask for",
        ),
        ("numbers_come_from_the_table", added("vars: {limit: 100}"), "limit holds 100"),
        ("numbers_come_from_the_table", added("vars: {limit: '99.5 %'}"), "limit holds 0.995"),
        ("numbers_come_from_the_table", added("pause: {seconds: 1800}"), "seconds holds 1800"),
        ("numbers_come_from_the_table", added("when: a.rate > 0.05"), "when holds 0.05"),
        ("numbers_come_from_the_table", added("vars: {a: '{{ b - 300 }}'}"), "a holds 300"),
        ("numbers_come_from_the_table", broken("--dry-run", "--limit 100"), "command holds 100"),
        ("numbers_come_from_the_table", broken("--dry-run", "--limit=100"), "command holds 100"),
    ],
)
def test_what_breaks_the_contract_is_refused(rule: str, book: Book, sentence: str) -> None:
    found = list(next(known for known in RULES if known.__name__ == rule)(book))
    assert sentence in "; ".join(found), found


def test_each_rule_has_said_no() -> None:
    """A rule that nothing has ever broken may be one that nothing can break."""
    (cases,) = (mark.args[1] for mark in test_what_breaks_the_contract_is_refused.pytestmark)  # type: ignore[attr-defined]
    assert {case[0] for case in cases} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(
    "task",
    [
        "vars: {mode: '0600', address: 10.20.30.5, version: 1.2.3, name: s3-reads, unit: 'worker2'}",
        "vars: {a: '{{ b * 100 }} of step 5', date: '%Y-%m-10T20:30'}",
        "ansible.builtin.command: hush -c a",
        "ansible.builtin.include_tasks: {file: \"{{ 'a' if b == 'c' else 'd' }}.yml\"}",
        "when: dry_run.rc not in [0, 3] and other.rc | default(4) in [0, 2]",
    ],
)
def test_what_only_looks_like_it_is_not_refused(task: str) -> None:
    assert [sentence for rule in RULES for sentence in rule(added(task))] == []
