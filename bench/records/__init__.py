"""What a run leaves behind, and the checks that it holds together."""
