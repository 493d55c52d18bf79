"""Plans: scenarios as TOML files, read and written, with the fields and the JSON schema of their tables."""
