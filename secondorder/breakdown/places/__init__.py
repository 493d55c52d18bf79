"""Where a scenario lies on the maps of its kind: a value for each axis, of each field that it is one of."""
