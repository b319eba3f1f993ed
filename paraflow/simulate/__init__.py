"""What a step would take on machines that are not here: a profile of the real step, and a model of the rest."""
