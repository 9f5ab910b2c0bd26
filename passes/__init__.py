"""Passes: pure functions from graph to graph, or from graph to plan. Installed as ``graphc.passes``."""

if __name__ != "graphc.passes":
    raise ImportError("`passes` is a folder of the source tree; import graphc.passes", name=__name__)
