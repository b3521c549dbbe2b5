"""A headless Chromium for the tests, spoken to over its debugging pipe; nothing but the standard library is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

_NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")
_WAIT_SECONDS = 30.0
_COMMANDS, _ANSWERS = 3, 4  # the descriptors that Chromium expects its pipe at


def find() -> Path | None:
    """CUTOVER_BROWSER, one on PATH, or the one that ops/toolchain/browser.sh has put into the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deltacrown-cutover"
    named = [os.environ.get("CUTOVER_BROWSER"), *(shutil.which(name) for name in _NAMES)]
    paths = [Path(name) for name in named if name] + sorted(cache.glob("browser-*/chromium"), reverse=True)
    return next((path for path in paths if path.is_file()), None)


class Browser:
    """One page in a browser of its own; entering it starts the process, leaving it ends it."""

    def __init__(self, program: Path, profile: Path) -> None:
        self._program, self._profile = program, profile
        self._number, self._session, self._received = 0, "", b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]  # not where they are moved to

        def place() -> None:
            os.dup2(theirs[0], _COMMANDS)
            os.dup2(theirs[1], _ANSWERS)

        libraries = self._program.resolve().parent / "libraries"
        options = ["--headless=shell", "--no-sandbox", "--no-zygote", "--in-process-gpu", "--disable-gpu"]
        options += ["--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={self._profile}"]
        self._process = subprocess.Popen(
            [str(self._program), *options],
            preexec_fn=place,  # noqa: PLW1509 - only dup2 between fork and exec
            close_fds=False,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LD_LIBRARY_PATH": str(libraries), "HOME": str(self._profile)},
        )
        for end in (commands, answers, *theirs):
            os.close(end)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Log", "Runtime"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(_WAIT_SECONDS)
        os.close(self._commands)
        os.close(self._answers)

    def open(self, path: Path, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Loads a file in a window so many CSS pixels wide, and waits until it is there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ValueError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(
            self.call("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.7)["data"]
        )

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Calls a method of the DevTools protocol."""
        self._number += 1
        command: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
        if "error" in message:
            raise ValueError(f"{method}: {message['error']}")
        answer: dict[str, Any] = message["result"]
        return answer

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + _WAIT_SECONDS
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self._answers, 1 << 16) if ready else b""
            if not more:
                raise TimeoutError("the browser does not answer")
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer
