"""Step 10: local copies are archived, put aside, deleted after a while, and brought back at any time."""
