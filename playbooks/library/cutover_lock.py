#!/usr/bin/python
"""Ansible module: the lock that admits one step at a time on a machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: cutover_lock
short_description: Takes or releases a machine's cutover lock
description:
  - The lock is a file that says who holds it. It is made exclusively, so that of two steps one gets it.
  - A lock that somebody else holds is never removed; the emergency rollback breaks it.
options:
  path: {description: the lock file, type: path, default: /run/deltacrown/cutover.lock}
  state: {description: held or released, type: str, choices: [held, released], required: true}
  holder: {description: who holds it, type: dict, required: true}
author: [DeltaCrown operations (@deltacrown)]
"""
EXAMPLES = r"""
- name: Take the lock
  cutover_lock:
    state: held
    holder: {holder: amina, step: 1, host: laptop, start: "2026-11-24T10:00:00Z", epoch: 3}
"""
RETURN = r"""
holder: {description: who holds the lock now, type: dict, returned: always}
"""


def _read(path: Path) -> dict[str, object] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError:
        return {"holder": "unknown: the lock file is not readable"}


def _take(path: Path, holder: dict[str, object]) -> bool:
    path.parent.mkdir(mode=0o755, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(holder) + "\n")
    return True


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/run/deltacrown/cutover.lock"},
            "state": {"type": "str", "choices": ["held", "released"], "required": True},
            "holder": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    path, holder = Path(module.params["path"]), module.params["holder"]
    current = _read(path)
    if module.params["state"] == "released":
        ours = current is not None and current == holder
        if ours and not module.check_mode:
            path.unlink(missing_ok=True)
        module.exit_json(changed=ours, holder=None if ours else current)
    if current == holder:
        module.exit_json(changed=False, holder=holder)
    if current is None and (module.check_mode or _take(path, holder)):
        module.exit_json(changed=True, holder=holder)
    current = current or _read(path) or {}
    said = ", ".join(f"{key} {value}" for key, value in current.items())
    module.fail_json(
        msg=f"{path} is held ({said}): wait for that step, or if it is gone, remove it with `cutover unlock`",
        holder=current,
    )


if __name__ == "__main__":
    main()
