"""flow.FlowFilter, compiled to tests on columns.

    flow.FlowFilter ──► compiling.compile_filters ──► Test: Rows -> mask
                              │
        packet.py (columns), party.py (who), place.py (node, interface), layer7.py (requests)

The fields of one filter must all match; of the values of one field, any.
"""

from cilia.hubble.filters.compiling import compile_filters
from cilia.hubble.filters.terms import InvalidFilterError, Scene

__all__ = ["InvalidFilterError", "Scene", "compile_filters"]
