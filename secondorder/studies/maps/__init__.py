"""How the maps of approximations are made: scenarios, formulas, truths, and where to sample."""
