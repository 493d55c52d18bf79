"""What it runs on: accelerators, clusters, storage, regions and prices, each with its source, and how they fail."""
