"""The closed forms of a queue by order: which apply to it, and what each claims."""
