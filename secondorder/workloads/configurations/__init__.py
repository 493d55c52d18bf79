"""How each family of ``config.json`` files describes its layers."""
