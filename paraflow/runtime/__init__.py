"""The runtime: sessions, executors, the variables' memory."""
