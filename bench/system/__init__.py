"""The machine and the disk."""
