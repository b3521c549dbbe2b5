"""The sweep: comes back for what dual-write left unmarked or could not store."""
