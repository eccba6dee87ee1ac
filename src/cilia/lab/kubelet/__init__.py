"""The lab's kubelet: pods of one node as real processes, through the real CNI plugin.

    API server ──pods of this node──▶ service ──▶ worker, one a pod ──▶ sandbox ──▶ shim
         ▲                                         │    │                  └──▶ CNI chain
         └── status, events, node, lease ──────────┘    └─▶ probes
    kubelet.sock ──▶ server: logs, exec

`shim` is the part that lives in the pod and outlives the kubelet; the rest can
be killed at any time and finds its pods again.
"""
