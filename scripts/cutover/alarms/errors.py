"""The base of the named errors of alarms, patterns, rules and queries."""

from cutover.exit_codes import CommandError

__all__ = ["AlarmError"]


class AlarmError(CommandError, ValueError):
    """An alarm, a pattern, a rule or its input cannot be used: says what is wrong, where, and what to do."""
