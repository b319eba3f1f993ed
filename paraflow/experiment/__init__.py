"""Experiments driven by a configuration file: its schema, the run directory, metrics, progress, the command line."""
