"""Reads a stack's settings and the table, and composes the stack's resources."""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Pulumi starts this file with its folder, not the repository's, on the path

from cutover import plan  # noqa: E402 (stands with the others)
from infra.lifecycle import LifecycleError, load_bucket_rules  # noqa: E402 (needs the path above)
from infra.settings import read_settings  # noqa: E402 (likewise)
from infra.stack import Stack  # noqa: E402 (likewise)

settings = read_settings(pulumi.get_stack(), pulumi.Config())
try:
    table = plan.load()
    lifecycle_rules = load_bucket_rules(ROOT / "ops" / "s3" / "lifecycle-policy.json")
except (plan.PlanError, LifecycleError) as error:
    raise pulumi.RunError(str(error)) from error

Stack(settings, table, lifecycle_rules, queries=ROOT / "ops" / "queries").declare()
