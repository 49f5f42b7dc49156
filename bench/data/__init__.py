"""Texts, from their source to batches of token ids."""
