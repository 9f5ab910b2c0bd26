"""Calling the user's function inside a trace: errors that NumPy hides come out, draws of random numbers are seen."""

from graphc.calling.calls import call

__all__ = ["call"]
