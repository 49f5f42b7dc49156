"""One run, from job to record."""
