"""Policy objects as people write them, read into `cilia.model.rules`.

    fields ◀── selectors, ports, peers, l7 ◀── cilium, kubernetes

Everything is checked here, field by field, and refused with the field's path, what
was found there and what to write instead.
"""
