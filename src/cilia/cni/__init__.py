"""The CNI plugin: a script of the standard library alone, and its installation.

    plugin.py   what the container runtime starts for each pod
    install.py  puts it and the network configuration where runtimes look

The plugin only carries: it passes its environment and configuration to the
agent's unix socket and prints the answer. What they mean is endpoint's affair.
"""
