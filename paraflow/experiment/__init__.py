"""Experiments from a configuration file: its schema, the run directory, metrics, progress, command line."""
