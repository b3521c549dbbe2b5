"""The layer with what this checkout puts on every machine: the application, this project's wheel, units."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from rehearsal.lab import image, overlay
from rehearsal.lab.commands import run
from rehearsal.lab.topology import REPOSITORY, STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SITE = REPOSITORY / "ops/rehearsal/site"
DEPLOY = SITE / "deploy"
UNITS = ("deltacrown-uwsgi@.socket", "deltacrown-uwsgi.service", "amazon-cloudwatch-agent.service")
SHIPPER = REPOSITORY / "ops/rehearsal/shipper.py"
LAYER = STATE_DIRECTORY / "site-layer"
NOT_APPLICATION = ("requirements.*", "__pycache__", "*.conf.in", "*.service", "*.socket")


def build(layers: Sequence[Path]) -> Path:
    """Builds the layer on top of the image's `layers`, and returns it; raises LabError."""
    staging = STATE_DIRECTORY / "site-layer-build"
    with overlay.mounted(layers, upper=LAYER, work=staging / "work", at=staging / "root") as root:
        application = root / "opt/deltacrown/app"
        shutil.copytree(SITE, application, ignore=shutil.ignore_patterns(*NOT_APPLICATION))
        for unit in UNITS:
            shutil.copy(DEPLOY / unit, root / "etc/systemd/system" / unit)
        agent = root / "opt/aws/amazon-cloudwatch-agent/bin"
        agent.mkdir(parents=True)
        shutil.copy(SHIPPER, agent)
        environment = root / image.VIRTUAL_ENVIRONMENT
        (root / "usr/local/bin/cutover").symlink_to("/opt/deltacrown/venv/bin/cutover")
        run([image.uv(), "build", "--quiet", "--wheel", "--out-dir", staging / "wheel", REPOSITORY])
        (wheel,) = (staging / "wheel").glob("*.whl")
        # No cache: it would hand out an older wheel of the same version.
        image.install_into(environment, "--no-deps", "--no-cache", wheel)
        image.compile_bytecode(application, environment)
    shutil.rmtree(staging)
    return LAYER
