"""The pod's own first process: keeps its namespaces, starts and reaps containers.

One shim a pod, PID 1 of the pod's PID namespace (a pause container and a
containerd-shim in one). It outlives the kubelet: containers go on, their logs
are written and their exit codes kept while no kubelet is there. Only the
standard library is used, and little of it, because every pod pays for it.

    kubelet ──socketpair──▶ spawner ──fork──▶ shim (PID 1) ──fork──▶ container
       └───────────── unix socket, JSON lines, fds ──▶┘
"""
