"""The constants of RULES.md that the code obeys."""

from __future__ import annotations

__all__ = ["PASSES"]

PASSES = 20
"""Passes over the kept features of a method that leaves the encoder as it is (rules, section 4)."""
