"""cilia: eBPF networking, observability and security for containers, in Python."""

__version__ = "0.1.0"
