"""Studies over many scenarios: sweeps, sensitivity, intervals, spares, sizes; and the file that keeps them."""
