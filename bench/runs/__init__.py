"""Plans of runs, their schedule and their progress."""
