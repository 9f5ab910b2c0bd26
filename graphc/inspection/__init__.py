"""Ways to look at a graph."""

from graphc.inspection.picture import draw, repr_html

__all__ = ["draw", "repr_html"]
