#!/usr/bin/env python3
"""A systemctl for the machine script's unit tests: units are directories, a start makes a process in a made-up /proc.

`state/<worker>/broken` makes starts fail as long as the flags in it are the ones to start with ("*": always);
`state/<worker>/old` makes the unit come up with the environment it had before. `units/<unit>` is another unit, in the
state that the file says; one that is `stuck` cannot be stopped. `application-user` is whose the workers are.
"""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEYS = ("CERT_S3_DUAL_WRITE", "CERT_S3_READ_PRIMARY", "CERT_S3_BACKFILL_ENABLED")


def worker_of(unit: str) -> str:
    """The instance of a unit name."""
    return unit.partition("@")[2].rpartition(".")[0]


def environment(worker: str) -> dict[str, str]:
    """What the unit's two environment files say; like systemd, without lines that start with `export`."""
    values: dict[str, str] = {}
    main = ROOT / "etc/deltacrown/staging.env"
    for path in (main, ROOT / f"etc/deltacrown/workers/{worker}.env"):
        if path.exists():
            for line in path.read_bytes().decode("utf-8", "replace").splitlines():
                name, sign, value = line.strip().partition("=")
                if sign and " " not in name:
                    values[name] = value.strip("\"'")
    return values


def start(worker: str) -> bool:
    """Starts two processes, or leaves the unit failed and says so."""
    state = ROOT / "state" / worker
    values = environment(worker)
    flags = ",".join(values.get(key, "false") for key in KEYS)
    broken = state / "broken"
    for old in (state / "pids").read_text().split() if (state / "pids").exists() else []:
        for file in (ROOT / "proc" / old).iterdir():
            file.unlink()
        (ROOT / "proc" / old).rmdir()
    (state / "pids").unlink(missing_ok=True)
    cgroup = ROOT / "sys/fs/cgroup/deltacrown" / worker
    cgroup.mkdir(parents=True, exist_ok=True)
    if broken.exists() and broken.read_text() in {flags, "*"}:
        (cgroup / "cgroup.procs").write_text("")
        return False
    if (state / "old").exists():
        values = dict(line.split("=", 1) for line in (state / "old").read_text().split())
    counter = ROOT / "state/next-pid"
    first = int(counter.read_text()) if counter.exists() else 5_000_000  # above any real process
    counter.write_text(str(first + 2))
    ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) + 1
    for pid in (first, first + 1):
        process = ROOT / "proc" / str(pid)
        process.mkdir(parents=True)
        (process / "environ").write_bytes(b"\0".join(f"{k}={v}".encode() for k, v in values.items()) + b"\0")
        (process / "stat").write_text(f"{pid} (uwsgi (x)) S " + "1 " * 18 + f"{ticks} 0 0\n")
    (state / "pids").write_text(f"{first} {first + 1}")
    (cgroup / "cgroup.procs").write_text(f"{first}\n{first + 1}\n")
    return True


def background() -> None:
    """What concerns no worker's unit: its state, its end, and whose the workers are."""
    unit, user = ROOT / "units" / sys.argv[-1], ROOT / "application-user"
    if "User" in sys.argv:
        print(user.read_text() if user.exists() else "")
    elif "ActiveState" in sys.argv:
        print("active" if unit.exists() else "inactive")
    elif unit.read_text() != "stuck":
        unit.unlink()
    else:
        time.sleep(30 * (sys.argv[1] == "stop"))
        sys.exit(1)


def main() -> None:
    """Runs one systemctl command."""
    units = [argument for argument in sys.argv if "@" in argument]
    with (ROOT / "state/calls").open("a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\n")
    match sys.argv[1]:
        case "list-units":
            for state in sorted((ROOT / "state").iterdir()):
                if state.is_dir():
                    print(f"deltacrown-uwsgi@{state.name}.service loaded active running x")
        case "restart" | "start":
            with (ROOT / "state/lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # the script restarts several workers at once
                started = [start(worker_of(unit)) for unit in units]
            sys.exit(not all(started))
        case "is-active":
            sys.exit(not (ROOT / "state" / worker_of(units[0]) / "pids").exists())
        case "show" | "stop" | "kill" if not units or "User" in sys.argv:
            background()
        case "show":
            wanted = "EnvironmentFiles" in sys.argv
            print("/etc/deltacrown/staging.env (ignore_errors=no)" if wanted else f"/deltacrown/{worker_of(units[0])}")


main()
