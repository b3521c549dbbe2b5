"""Runs the real Pulumi CLI for a stack of this repository, against the rehearsal's provider.

The repository's own stack files stay as they are: the CLI works in a folder with a copy of Pulumi.yaml, whose
`main` points back to the program, and of Pulumi.<stack>.yaml, extended by the rehearsal's settings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "deltacrown-cutover"
COMMAND_SECONDS = 300.0  # an `up` takes under ten seconds; more than this is a hang
LAST_LINES = 25
RUN_THE_PROGRAM = frozenset({"up", "preview"})


class PulumiError(RuntimeError):
    """A Pulumi command failed; the message ends with what the CLI said last."""


@dataclasses.dataclass(frozen=True)
class PulumiStack:
    """One stack. Several may share a directory (state, passphrase) and run at the same time."""

    name: str
    directory: Path
    provider_port: int  # of rehearsal.provider.serving
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # override Pulumi.<name>.yaml's
    program: Path = REPOSITORY / "infra"
    # Settings that the CLI keeps encrypted, in its stack file and in the state; not shown in a repr.
    secrets: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    def up(self) -> None:
        """Creates or updates the stack's resources."""
        self._run("up", "--yes", "--skip-preview", "--suppress-outputs")

    def preview(self, *, expect_no_changes: bool = False) -> str:
        """Returns the CLI's preview; PulumiError if changes are pending that were not expected."""
        return self._run("preview", *(["--expect-no-changes"] if expect_no_changes else []))

    def refresh(self, *, expect_no_changes: bool = False) -> None:
        """Reads AWS into the state; PulumiError if that changes something that was expected not to."""
        only_check = ["--expect-no-changes"] if expect_no_changes else []
        self._run("refresh", "--yes", "--skip-preview", "--suppress-outputs", *only_check)

    def destroy(self) -> None:
        """Deletes the stack's resources; protected ones are refused."""
        self._run("destroy", "--yes", "--skip-preview")

    def outputs(self) -> dict[str, Any]:
        """Returns what the program exported at the last `up`."""
        outputs: dict[str, Any] = json.loads(self._run("stack", "output", "--json"))
        return outputs

    def import_resources(self, specification: Mapping[str, Any]) -> None:
        """Takes existing resources into the state; `specification` is what `pulumi import --file` takes."""
        path = self._folder() / "import.json"
        path.write_text(json.dumps(specification), encoding="utf-8")
        self._run("import", "--file", str(path), "--yes", "--skip-preview", "--generate-code=false", "--protect=false")

    def _run(self, command: str, *arguments: str) -> str:
        self._prepare()
        self._call("stack", "select", "--create", self.name)
        if command in RUN_THE_PROGRAM:
            self._encrypt_secrets()
        return self._call(command, *arguments, "--stack", self.name)

    def _encrypt_secrets(self) -> None:
        for key, value in self.secrets.items():  # as input, for arguments can be read by everyone on the machine
            self._call("config", "set", "--secret", f"{NAMESPACE}:{key}", "--stack", self.name, stdin=value)

    def _call(self, *arguments: str, stdin: str = "") -> str:
        try:
            result = subprocess.run(
                ["pulumi", *arguments, "--non-interactive", "--color", "never"],
                cwd=self._folder(),
                env=self._environment(),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PulumiError(
                f"pulumi {arguments[0]} of stack {self.name} did not end in {COMMAND_SECONDS:.0f} s."
            ) from error
        if result.returncode != 0:
            said = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
            raise PulumiError("\n".join([f"pulumi {arguments[0]} of stack {self.name} failed:", *said[-LAST_LINES:]]))
        return result.stdout

    def _environment(self) -> dict[str, str]:
        programs = Path(sys.executable).parent  # the old language host takes the first Python on PATH
        # The operator's own settings must not win: PULUMI_CONFIG_PASSPHRASE, for one, beats the file.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        return inherited | {
            "DELTACROWN_REHEARSAL": "1",  # by which a later run finds what a killed one left
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PULUMI_BACKEND_URL": f"file://{self.directory / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.directory / "passphrase"),
            "PULUMI_DEBUG_PROVIDERS": f"aws:{self.provider_port}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(self.directory / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }

    def _folder(self) -> Path:
        return self.directory / self.name

    def _prepare(self) -> None:
        for folder in (self.directory, self.directory / "state", self._folder()):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_passphrase()
        project = _read_yaml(REPOSITORY / "Pulumi.yaml") | {
            "main": str(self.program),
            "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
        }
        _write_yaml(self._folder() / "Pulumi.yaml", project)
        copy = self._folder() / f"Pulumi.{self.name}.yaml"
        stack = _read_yaml(REPOSITORY / copy.name)
        own_settings = {f"{NAMESPACE}:{key}": value for key, value in self.settings.items()}
        stack["config"] = stack.get("config", {}) | own_settings
        _write_yaml(copy, _read_yaml(copy) | stack)  # the CLI keeps the passphrase's salt in this file

    def _make_passphrase(self) -> None:
        """Makes the passphrase that all stacks of the directory share; the first of several at once wins."""
        own = self._folder() / "passphrase"
        own.touch(mode=0o600)
        own.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            (self.directory / "passphrase").hardlink_to(own)
        own.unlink()


def _read_yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
