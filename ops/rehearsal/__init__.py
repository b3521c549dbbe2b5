"""The rehearsal: the whole cutover on one Linux machine, with real parts."""
