"""A pod's life on this node: connected, identified, opened by its policy, gone.

    cni.py       requests of the CNI plugin -> values; answers -> CNI JSON
    devices.py   veth pair, addresses, routes: the netlink side of a pod
    kernel.py    rows, links, connections: the eBPF side of a pod
    store.py     what must be known again after a restart, one file a pod
    journal.py   the states an endpoint went through
    labels.py    pod and namespace -> the labels of its identity
    service.py   the Service: add, delete, check, assign, restore

    CNI ADD ─► addresses ─► veth + closed row + program ─► endpoints table
    pods, namespaces ─► labels ─► identity ─► endpoints table ─► (policy)
    (policy) ─► assign ─► the row is open ─► endpoints table: ready

Writes the endpoints table; reads pods and namespaces. A pod is closed from its
first moment until `assign` has put its policy into its row.
"""
