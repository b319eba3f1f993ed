"""What a rank that keeps parameters does: which variables it owns, when it applies a gradient, whom it answers."""
