"""The tables of the report, for a terminal, Markdown, LaTeX and CSV."""
