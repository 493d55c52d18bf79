"""Where approximations break: a map of the error of each, over load, variability and one more axis."""
