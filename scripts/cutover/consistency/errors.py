"""The one error of the check's own."""


class ConsistencyError(RuntimeError):
    """The check could not measure; the sentence says what was seen and what to do. Its verdict is ERROR."""
