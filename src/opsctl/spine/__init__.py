"""What makes every job safe: lease, journal, audit, executor."""
