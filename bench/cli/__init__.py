"""The words that a person types: parse, call, print."""
