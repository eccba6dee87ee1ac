"""`python -m bench [NAME …]`: runs benchmarks, prints their tables, keeps them as JSON and SVG."""

import importlib
import sys

NAMES = (
    "datapath",
    "program",
    "provenance",
    "observer",
    "ipcache",
    "policy_engine",
    "policy_cidrs",
    "tables",
    "cni",
    "policy_apply",
    "agent",
    "cli",
    "policy_test",
    "why",
    "relay",
    "hubble",
    "observability",
    "lab",
)


def main() -> None:
    """Runs the named benchmarks, else all of them."""
    for name in sys.argv[1:] or NAMES:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()


main()
