"""The chain of records that says what was done, what it was measured by, and what may be done next."""
