"""The operator's word before step 10 takes local copies away: a phrase that names the deployment and how many."""

from __future__ import annotations

__all__ = ["approved", "phrase", "problem"]


def phrase(deployment: str, certificates: int) -> str:
    """What an operator has to write so that so many certificates' local copies are put aside, and no more.

    Without spaces, which a shell and Ansible's `-e name=value` would read differently.
    """
    return f"put-aside-{certificates}-certificates-of-{deployment}"


def problem(given: str, deployment: str, certificates: int) -> str:
    """Why nothing may be put aside by what was given, with the phrase that would do; empty if it may.

    A live site issues certificates between the question and the answer: whoever approved fewer than there are now has
    approved the oldest of them. More than there are means that it was said of something else.
    """
    if not certificates:
        return ""
    wanted = phrase(deployment, certificates)
    if not given:
        return f"{certificates} certificates of {deployment} are proven in S3; to go on, approve: -e approval={wanted}"
    if not 0 < approved(given, deployment) <= certificates:
        return f"approval {given!r} does not fit the {certificates} certificates that are proven: -e approval={wanted}"
    return ""


def approved(given: str, deployment: str) -> int:
    """How many certificates of this deployment the phrase approves; 0 if it is another one."""
    before, after = phrase(deployment, 0).split("0")
    number = given.removeprefix(before).removesuffix(after)
    exact = number.isascii() and number.isdigit() and given == phrase(deployment, int(number))
    return int(number) if exact else 0
