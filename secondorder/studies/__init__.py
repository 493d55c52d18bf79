"""Studies over many scenarios: sweeps, sensitivity, checkpoint intervals, spares, sizes; and the file that keeps them."""
