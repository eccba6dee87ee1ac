"""The lab: a small Kubernetes on one machine, so that cilia needs no cluster at hand.

    cilia lab up ──> supervisor ──┬── API server ── controllers      (outside the nodes)
                                  ├── world                          (namespace of its own)
                                  └── a node: agent, observer, kubelet ── pods

`site` says where everything lives, `topology` makes the namespaces and links,
`supervisor` keeps the programs running, `controllers` move the cluster to what
its objects ask for, `world` plays the internet and `dns` is the cluster's name
server. `apiserver` and `kubelet` are rooms of their own inside this one.
"""
