"""Spaces under a budget: what fits, how much of it there is, and how it is sampled."""
