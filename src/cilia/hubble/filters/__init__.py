"""flow.FlowFilter, compiled to tests on columns.

    flow.FlowFilter ──► compiling.compile_filters ──► Test: Rows -> mask
                              │
        packet.py (columns), party.py (who), layer7.py (requests), cel.py (expressions)

    flow.FlowFilter ──► messages.compile_message_filters ──► flow.Flow -> bool (files)

The fields of one filter must all match; of the values of one field, any.
"""

from cilia.hubble.filters.compiling import compile_filters
from cilia.hubble.filters.messages import compile_message_filters
from cilia.hubble.filters.terms import FlowTest, InvalidFilterError, Scene

__all__ = [
    "FlowTest",
    "InvalidFilterError",
    "Scene",
    "compile_filters",
    "compile_message_filters",
]
