"""The rehearsal's machines and services: systemd-nspawn machines, PostgreSQL, AWS stand-ins, alarm engine, pager.

Everything runs in a network namespace of its own without a route out, and in control groups of its own, so
that `Lab.down` can prove that nothing is left.
"""

from rehearsal.lab.commands import LabError
from rehearsal.lab.lab import Lab

__all__ = ["Lab", "LabError"]
