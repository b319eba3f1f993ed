"""The compiler: from a graph, fetches and feed shapes to a plan."""
