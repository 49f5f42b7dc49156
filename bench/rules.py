"""The numbers of RULES.md."""

__all__ = ["PASSES"]

PASSES = 20
"""Passes over kept features of a method that encodes once (rules, section 4)."""
