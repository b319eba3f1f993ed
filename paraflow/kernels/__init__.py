"""Kernels: tables (op, device) -> a function that writes its result into a given buffer."""
