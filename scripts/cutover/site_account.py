"""The site's HTTP interface, as far as tools use it: whom they sign in, and where."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from cutover.exit_codes import CommandError, ExitCode
from cutover.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CERTIFICATES", "SIGN_IN", "VERIFY", "SiteError", "given_fields"]

SIGN_IN = "/api/sign-in/"
CERTIFICATES = "/api/tournaments/certificates/"
VERIFY = f"{CERTIFICATES}verify/"


class SiteError(CommandError):
    """Nobody could sign in, so that nothing was asked for; the sentence says who, where and why."""

    exit_code = ExitCode.ERROR


def given_fields(*names: str) -> Mapping[str, Any]:
    """The JSON object of standard input, which has at least these fields.

    Secrets come so, because arguments can be read by every user of the machine.

    Raises:
        SettingsError: standard input holds something else.
    """
    try:
        fields = json.load(sys.stdin)
        return {name: fields[name] for name in names}
    except (ValueError, KeyError, TypeError):  # whose text could show the password
        example = ", ".join(f'"{name}": …' for name in names)
        raise SettingsError(f"standard input has no account: give {{{example}}} as one JSON object") from None
