"""Conclusions to tables, figures and a page: reads records, never writes one, and never imports torch."""
