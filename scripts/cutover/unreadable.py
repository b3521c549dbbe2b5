"""What an emergency asks before it takes reads back to local files: how many files lie only in S3 since the purge.

The data host counts them (`cutover restore --accept-unreadable`). Where it does not answer, each machine goes by the
mark that the purge has left on it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cutover import fleet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["counted", "options", "problem"]

_COUNTED = re.compile(r"^ONLY_IN_S3 (\d+) (\d+)\s*$", re.MULTILINE)


def counted(data_host: Mapping[str, Any]) -> tuple[int, int] | None:
    """Files without a local copy and certificates that they belong to, as this data host counted them just now.

    None if nothing was ever purged, if the scenario leaves the reads alone, or if nobody could count.
    """
    said = data_host.get("emergency_restored", {})
    found = _COUNTED.search(f"{said.get('stdout') or ''}")
    return (int(found[1]), int(found[2])) if found else None


def problem(
    hosts: Mapping[str, Mapping[str, Any]],
    data_hosts: Mapping[str, str],
    scenario: str,
    accepted: int | str,
    others: str = "",
) -> str:
    """Why the emergency must not go on, with the ways that there are; empty if it may.

    Args:
        hosts: the inventory's hosts with their variables and results.
        data_hosts: the deployments that are rolled back, each with its data host; one without has no count.
        scenario: the emergency's.
        accepted: how many files the operator accepts as unreadable.
        others: the call's other options, so that the commands named reach no more workers than it would have.
    """
    sentences = []
    for deployment, data_host in data_hosts.items():
        found = counted(hosts[data_host])
        if found is None or found[0] in {0, int(accepted)}:
            continue
        files, certificates = found
        wrong = f", not {accepted}" if int(accepted) else ""
        environment_file = hosts[data_host].get("environment_file", "…")
        command = f"ansible-playbook emergency-rollback.yml -e deployment={deployment}{others}"
        sentences.append(
            f"REFUSED, and nothing was changed: {files} files of {certificates} certificates of {deployment} lie only "
            f"in S3, for their local copies were purged; scenario {scenario} would make them unreadable. "
            f"If reads from S3 work, keep them: {command} -e scenario=uploads. "
            f"To bring the files back first, on {data_host}: sudo cutover restore --env-file {environment_file}. "
            f"To go on without them: {command} -e scenario={scenario} -e accept_unreadable={files}{wrong}"
        )
    return "; ".join(sentences)


def options(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], machine: str, accepted: int | str
) -> str:
    """What the machine script is told beside its scenario; empty where nothing was ever purged.

    What the data host has counted goes before the machine's mark, which may be older than the last restore.
    """
    deployment = next((name for name in ("production", "staging") if machine in groups.get(f"{name}_machines", ())), "")
    found = next((counted(hosts[name]) for name in fleet.data_hosts([deployment], groups).values()), None)
    if found is not None:
        return f" --unreadable {found[0]}" + (f" --accept-unreadable {found[0]}" if found[0] else "")
    return f" --accept-unreadable {accepted}" if int(accepted) else ""
