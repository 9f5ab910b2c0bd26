"""The exact backend: a graph evaluated over SymPy expressions, mpmath numbers or Arb balls."""
