"""Measurements on a CUDA machine without a network: `carry` brings the files there, `python -m tests.measurements.gpu` runs."""
