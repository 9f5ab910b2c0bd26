"""The NumPy backend: a plan as straight-line Python over NumPy arrays."""
