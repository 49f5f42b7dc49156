"""Encoders, checked and loaded."""
