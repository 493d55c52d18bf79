"""Where approximations break: for each its map, the error over load, variability and one more axis."""
