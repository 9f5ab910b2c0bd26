"""Ways to look at a graph."""

from graphc.inspection.costs import Cost, cost
from graphc.inspection.notebook import repr_html
from graphc.inspection.picture import draw

__all__ = ["Cost", "cost", "draw", "repr_html"]
