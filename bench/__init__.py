"""A comparison of parameter-efficient fine-tuning methods under one device budget."""

__version__ = "0.1.0"
RULES_VERSION = 3
"""Version of RULES.md: records of different versions are never compared."""
