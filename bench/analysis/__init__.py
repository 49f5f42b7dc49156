"""Records to conclusions. Nothing is printed here, and torch is never imported."""
