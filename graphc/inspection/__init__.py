"""Ways to look at a graph."""

from graphc.inspection.costs import Cost, cost
from graphc.inspection.picture import draw, repr_html

__all__ = ["Cost", "cost", "draw", "repr_html"]
