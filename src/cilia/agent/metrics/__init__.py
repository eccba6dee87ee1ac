"""What the agent tells Prometheus.

    counted where it happens ─ counters ─┐
    tables, as they change ── following ─┤
    kernel maps, now and then ─ sampling ┼─ registry ─▶ /metrics, GET /v1/metrics
    kernel counters, tables ───── looks ─┘     ▲
                                     families, choice

Every family is declared once, in `families`. What is cheap is looked at when somebody asks;
what is not (how full each map is) is looked at in the background; what leaves no trace is
counted where it happens. Nothing here is asked by the rooms: they call what they were given.
"""
