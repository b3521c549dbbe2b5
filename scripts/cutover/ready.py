"""Whether an emergency rollback could be started from here now: what is asked of each machine, and what is amiss."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import yaml

from cutover.fleet import machine_report
from cutover.machine_command import SCRIPT
from cutover.status import asking, locks
from cutover.status.here import FENCED, LOCK
from cutover.status.sites import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.status.sites import Site

__all__ = ["PLAYBOOK", "SECONDS", "Look", "Picture", "Problem", "look"]

EPOCH = Path("/etc/deltacrown/rollback-epoch")
PURGED = Path("/etc/deltacrown/purged-copies")  # how many files lie only in S3, and since when
PLAYBOOK = "emergency-rollback.yml"
# The ssh of an emergency gives a dead machine up after five seconds; this ends one that is reached and does not answer.
SECONDS = 7.0
_SHORT = 12  # digits of a SHA-256 that tell two scripts apart
_MARKS = ("script", "epoch", "room", "purged", "lock", "fence", "cutover", "status")


@dataclass(frozen=True)
class Problem:
    """What would stand in an emergency's way: where, what was seen there, and what to do about it.

    `measured` is False where nobody could look, which is not the same as amiss.
    """

    where: str
    what: str
    next: str
    measured: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; next: {self.next}"


@dataclass
class Look:
    """A machine as it answered, `seconds` after it was asked; `said` holds its words by mark, empty if it said none."""

    machine: Machine
    seconds: float = 0.0
    silent: str = ""  # why it said nothing
    said: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)  # of the machine script under sudo
    errors: str = ""

    @property
    def epoch(self) -> int | None:
        """Its rollback epoch; None if its file holds no number."""
        text = self.said.get("epoch", "")
        return int(text) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True)
class Picture:
    """All machines that were asked, and what stands in the way, on this machine and on those.

    `notes` stand in nobody's way, and change what to type.
    """

    looks: Sequence[Look]
    problems: Sequence[Problem]
    notes: Sequence[str] = ()


def look(sites: Sequence[Site], playbooks: Path, inventory: Sequence[str], user: str) -> Picture:
    """Asks every machine of these deployments at once, and meanwhile whether this one could start the playbook.

    Args:
        sites: the deployments.
        playbooks: this checkout's folder of playbooks.
        inventory: the options by which ansible-playbook finds the same inventory.
        user: who asks, for machines of which the inventory names no other.
    """
    data_hosts = {site.data_host.name for site in sites}
    rolled_back = {machine.name for site in sites for machine in site.machines}
    machines = {machine.name: machine for site in sites for machine in (*site.machines, site.data_host)}
    options, unread = _emergency_ssh(playbooks)
    with ThreadPoolExecutor(len(machines) + 1) as pool:
        here = pool.submit(_here, playbooks, inventory, list(machines.values()))
        commands = [_command(script=name in rolled_back, cutover=name in data_hosts) for name in machines]
        looks = list(pool.map(lambda machine, command: _ask(machine, command, options), machines.values(), commands))
        problems = unread + here.result()
    own = hashlib.sha256((playbooks.parent / "scripts" / SCRIPT.name).read_bytes()).hexdigest()
    for each in looks:
        problems += _of_machine(each, own, str(each.machine.variables.get("ansible_user") or user))
    for site in sites:
        problems += _of_epochs([each for each in looks if each.machine in site.machines])
    return Picture(looks, problems, _notes(looks))


def _emergency_ssh(playbooks: Path) -> tuple[str, list[Problem]]:
    """The options of the emergency's own ssh; none with a problem if the file that says them cannot be read."""
    path = playbooks / "vars/emergency.yml"
    try:
        return str(yaml.safe_load(path.read_text(encoding="utf-8"))["emergency_ssh_args"]), []
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        what = f"{path} cannot be read: {' '.join(str(error).split())[:300]}"
        return "", [Problem("here", what, f"git status in {playbooks.parent}; put that file right")]


def _notes(looks: Sequence[Look]) -> list[str]:
    """What changes the command to type: after a purge the default is refused, and nobody reads the guide then."""
    counts = [each.said["purged"].partition(" ")[0] for each in looks if each.said.get("purged")]
    if not counts:
        return []
    most = max(counts, key=lambda text: (len(text), text))
    then = 'while S3 can be read, add -e scenario=uploads; else see "After the purge" in ops/runbook.md'
    return [f"{most} files lie only in S3 since the purge, so the command is refused as it stands: {then}"]


def _here(playbooks: Path, inventory: Sequence[str], machines: Sequence[Machine]) -> list[Problem]:
    """What this machine lacks. The syntax check reads playbook, roles and inventory as the emergency will."""
    keys = {str(each.variables.get("ansible_ssh_private_key_file") or "") for each in machines} - {""}
    found = [
        Problem(
            "here", f"the key {key} of the inventory is not there, or not readable to you", "put it there, mode 600"
        )
        for key in sorted(keys)
        if not _readable(Path(key).expanduser())
    ]
    program = shutil.which("ansible-playbook")
    if program is None:
        activate = playbooks.parent / ".venv/bin/activate"
        return [*found, Problem("here", "there is no ansible-playbook on the PATH", f"make setup, then `. {activate}`")]
    command = [program, "--syntax-check", *inventory, PLAYBOOK]
    try:
        done = subprocess.run(command, cwd=playbooks, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        what = f"{PLAYBOOK} was not read within {SECONDS:g} s, so this machine is too busy for an emergency, or hangs"
        return [*found, Problem("here", what, "look what it does (top), and ask again", measured=False)]
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip() or "nothing").split())
        again = f"cd {playbooks} && ansible-playbook --syntax-check {PLAYBOOK}"
        found.append(Problem("here", f"{program} cannot read {PLAYBOOK}: {said[:300]}", f"{again}; then make setup"))
    return found


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _ask(machine: Machine, command: str, options: str) -> Look:
    """Asks over a connection such as the emergency's: an ssh that does not know one of its options reaches nobody."""
    begun = monotonic()
    given = f"{options} {machine.variables.get('ansible_ssh_common_args') or ''}"
    connected = Machine(machine.name, {**machine.variables, "ansible_ssh_common_args": given})
    heard = asking.said(connected, command, SECONDS)
    found = Look(machine, monotonic() - begun)
    if isinstance(heard, str):
        found.silent = heard.removeprefix(f"{machine.name} ")
        return found
    lines = (line.partition(" ") for line in heard.output.splitlines())
    found.said = {mark: text.strip() for mark, _, text in lines if mark in _MARKS}
    found.report, found.errors = machine_report(heard.output), heard.errors.strip()
    if "status" not in found.said:
        words = (found.errors or heard.output.strip()).splitlines() or ["nothing"]
        found.silent = f"({machine.address}) ended with {heard.code} before it had answered: {words[-1]}"
        if heard.code == asking.SSH_FAILED and not found.said:
            found.silent = f"({machine.address}) cannot be reached: {words[-1]}"
    return found


def _command(*, script: bool, cutover: bool) -> str:
    """What a machine's shell runs as the user of the emergency: a line for each mark, the script's own JSON between.

    A data host that runs no workers has neither script nor epoch. Under sudo the emergency runs the script, and a shell
    for all the rest.
    """
    asked = {}
    if script:
        room = f"test -w {EPOCH.parent} && df -k --output=avail {EPOCH.parent} | tail -n 1"
        asked = {
            "script": f"sha256sum <{SCRIPT}",
            "epoch": f"cat {EPOCH}",
            "room": f"sudo -n sh -c '{room}' 2>/dev/null",
            "purged": f"sudo -n sh -c 'test ! -e {PURGED} || cat {PURGED}' 2>/dev/null",
        }
    for mark, path in (("lock", LOCK), ("fence", FENCED)):
        asked[mark] = f"test ! -e {path} || cat {path} || echo unreadable"
    if cutover:
        asked["cutover"] = "/usr/local/bin/cutover --version"
    lines = [f'echo {mark} "$({command})"' for mark, command in asked.items()]
    under_sudo = f"sudo -n sh -c true && sudo -n {SCRIPT.name} --status" if script else "sudo -n sh -c true"
    return "; ".join([*lines, under_sudo, "echo status $?"])


def _of_machine(seen: Look, own: str, user: str) -> list[Problem]:
    """What is amiss on a machine.

    Args:
        seen: what it answered.
        own: SHA-256 of this checkout's script, hexadecimal.
        user: as whom it was asked.
    """
    name = seen.machine.name
    if seen.silent:
        return [_silent(seen, user)]
    found = _of_script(seen, own) if "script" in seen.said else []
    if not _sudo_works(seen):
        found.append(_no_sudo(name, seen.errors, user))
    elif seen.said.get("script") and seen.said.get("room") in {"", "0"}:
        why = "has no room left" if seen.said["room"] else "cannot be written, even by root"
        what = f"{EPOCH.parent} {why}, so no flag could be changed"
        found.append(Problem(name, what, f"there: df -h {EPOCH.parent}; findmnt -T {EPOCH.parent}"))
    if "cutover" in seen.said and not seen.said["cutover"].startswith("cutover "):
        what = "it is the data host, and its /usr/local/bin/cutover does not answer"
        found.append(Problem(name, what, 'install the package there: README, "On your AWS account"'))
    return [*found, *_left_behind(name, seen.said)]


def _of_script(seen: Look, own: str) -> list[Problem]:
    """What is wrong with a machine's script and its epoch."""
    name, script = seen.machine.name, seen.said["script"].partition(" ")[0]
    prepare = f"ansible-playbook prepare-hosts.yml --limit {name}"
    found = []
    if not script:
        found.append(Problem(name, f"there is no {SCRIPT}", prepare))
    elif script != own:
        what = f"its {SCRIPT.name} is not this checkout's (SHA-256 {script[:_SHORT]}…, here {own[:_SHORT]}…)"
        found.append(Problem(name, what, f"git pull here if this checkout is old, else {prepare}"))
    if seen.epoch is None:
        found.append(Problem(name, f"{EPOCH} cannot be read, or holds no number", prepare))
    return found


def _sudo_works(seen: Look) -> bool:
    """Whether the script ran under sudo and told its state; where there is no script, that was said already."""
    if "script" not in seen.said:
        return seen.said["status"] == "0"
    told = seen.said["status"] in {"0", "1"} and isinstance(seen.report.get("failed"), list)
    return told or not seen.said["script"]


def _left_behind(name: str, said: Mapping[str, str]) -> list[Problem]:
    """A lock and a fence, which are no state to begin a shift with."""
    found = []
    if said["lock"]:
        what = f"{LOCK} is held {_holder(said['lock'])}"
        found.append(
            Problem(name, what, "wait for that step (an emergency breaks its lock), or cutover unlock if it died")
        )
    if said["fence"]:
        what = f"the deployment is under a fence: {said['fence'][:300]}"
        found.append(Problem(name, what, f"once its cause is mended: {_unfence(said['fence'])}"))
    return found


def _unfence(text: str) -> str:
    try:
        return str(dict(json.loads(text))["unfence"])
    except (ValueError, TypeError, KeyError):
        return "ansible-playbook unfence.yml -e deployment=…"


def _silent(seen: Look, user: str) -> Problem:
    name, address = seen.machine.name, seen.machine.address
    if "ermission denied" in seen.silent:
        what = f"({address}) does not take your key as {user}: {seen.silent.rpartition(': ')[2]}"
        return Problem(name, what, "ssh-add that key, or have yours put into its authorized_keys")
    if "ost key verification failed" in seen.silent:
        return Problem(
            name, f"({address}) has another host key than is known here", f"compare it: ssh {user}@{address}"
        )
    try_it = f"is it up, and are you in its network? ssh {user}@{address}"
    return Problem(name, seen.silent, try_it, measured="before it had answered" not in seen.silent)


def _no_sudo(name: str, errors: str, user: str) -> Problem:
    said = (errors.splitlines() or ["nothing"])[-1]
    if "password" in said:
        rule = f"{user} ALL=(ALL) NOPASSWD: ALL"
        return Problem(name, f"sudo asks {user} for a password", f"allow it there without: `{rule}` in /etc/sudoers.d")
    return Problem(
        name,
        f"sudo sh, or sudo {SCRIPT.name} --status, says: {said}",
        f"try it there: sudo -n sh -c true && sudo -n {SCRIPT.name} --status",
    )


def _holder(text: str) -> str:
    try:
        return locks.described(dict(json.loads(text)))
    except (ValueError, TypeError):
        return "by nobody that could be told: it is not readable"


def _of_epochs(looks: Sequence[Look]) -> list[Problem]:
    """The machines of a deployment whose epoch is not the others'."""
    known = {each.machine.name: each.epoch for each in looks if not each.silent and each.epoch is not None}
    counted = Counter(known.values())
    if len(counted) < 2:
        return []
    (usual, _), highest = counted.most_common(1)[0], max(counted)
    lower = ", ".join(name for name, epoch in known.items() if epoch < highest)
    even = f"see ansible-playbook fleet-status.yml, then on {lower}: echo {highest} | sudo tee {EPOCH}"
    what = "a rollback reached it alone, or did not reach it"
    return [
        Problem(name, f"its rollback epoch is {epoch}, the others' {usual}: {what}", even)
        for name, epoch in known.items()
        if epoch != usual
    ]
