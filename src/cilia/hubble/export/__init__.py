"""Flows to files of JSON lines, for audits and for other tools.

    FlowStore ──► follower (one a log: masks, batches) ──► lines | aggregation ──► files
                     ▲                                                          │
    settings, YAML ──► config ──► service (reloads)         ledger (what a crash took) ◄┘

A log follows the store as a reader does, at its own pace; what it cannot keep up with,
and what was lost before it, stands in the file as a `lost_events` line.
"""
