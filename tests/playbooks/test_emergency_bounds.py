"""What may not keep an emergency from its flags, nor its report from the on-call: who hangs, and half an inventory."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import yaml

from tests.playbooks import test_unreadable_play
from tests.playbooks.local_play import program

if TYPE_CHECKING:
    from tests.playbooks.test_unreadable_play import Emergency

emergency = test_unreadable_play.emergency  # the fixture


def waits_for_two_seconds(emergency: Emergency, path: str) -> None:
    """Shortens how long this playbook waits for a machine that hangs."""
    book = emergency.deployment.playbooks / path
    text, waits = re.subn(r"timeout: \d+", "timeout: 2", book.read_text())
    assert waits == 1
    book.write_text(text)


def sudo(emergency: Emergency, hanging: str) -> None:
    """What follows hangs on every machine whose call looks like this, after ssh has connected."""
    program(
        emergency.deployment.directory / "bin",
        "sudo",
        f'case "$*" in {hanging}) exec sleep 30 ;; esac\nshift\nexec "$@"',
    )


def test_a_data_host_that_connects_and_hangs_keeps_no_flag_from_being_set(emergency: Emergency) -> None:
    """sudo waits for a directory service for ever, and the flags of all machines wait for one of them."""
    waits_for_two_seconds(emergency, "parts/put_copies_back.yml")
    sudo(emergency, "*quarantine*")
    began = time.monotonic()
    code, said = emergency.play()
    assert time.monotonic() - began < 25
    assert code != 0
    assert emergency.called == ["script local"] * 2
    assert "2 processes are proven" in said
    assert "m1: local copies that were put aside may not be back" in said


def test_a_machine_that_connects_and_hangs_is_named_like_one_that_cannot_be_reached(emergency: Emergency) -> None:
    """The report of all others is never printed, and nobody knows which machine it waits for."""
    waits_for_two_seconds(emergency, "emergency-rollback.yml")
    sudo(emergency, "*deltacrown-s3-rollback*")
    code, said = emergency.play()
    assert code != 0
    for machine in ("m1", "m2"):
        assert f"{machine}: UNREACHABLE, its state is unknown" in said
        assert f"{machine} cannot be reached (it answers and then hangs: " in said


def test_both_deployments_are_those_that_the_inventory_has(emergency: Emergency) -> None:
    """After the cutover staging is gone from the inventory, and `all` breaks off before the flags or the verdict."""
    inventory = emergency.deployment.inventory
    listed = yaml.safe_load(inventory.read_text())
    listed["all"]["children"]["machines"] = {"children": {"staging_machines": None}}
    inventory.write_text(yaml.safe_dump(listed))
    emergency.counts("ONLY_IN_S3 0 0\n")
    code, said = emergency.deployment.play("emergency-rollback.yml", "-e", "deployment=all")
    assert code == 0, said
    assert "ROLLED BACK: 2 processes proven" in said
    assert emergency.called.count("script local --unreadable 0") == 2
