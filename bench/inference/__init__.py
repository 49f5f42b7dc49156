"""A trained classifier in use: predictions, evaluation, latency."""
