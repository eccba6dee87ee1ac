"""Hubble's metrics: how many flows, drops, verdicts … there were, by labels.

store ─► batch (keys) ─► tally ─► series ─► metrics ─► Prometheus
                           │ new keys only
                           ▼
          handlers, requests (what counts) ─ contexts (between whom)

options (the list, the dynamic file) ─► service (counts, watches, forgets the dead)
"""

from cilia.hubble.metrics.metrics import HubbleMetrics
from cilia.hubble.metrics.options import MetricsConfigError, parse_file, parse_metrics

__all__ = ["HubbleMetrics", "MetricsConfigError", "parse_file", "parse_metrics"]
