"""The session's log: frames, spool, barrier, recovery, reading. Knows nothing of protocols."""
