"""Graphs and plans, shown: as text, as DOT and as pictures."""
