"""What our kernel objects mean: the only room that knows map and program names.

    layout.py    dtypes and numbers from objects/layout.bpf.o; the 16-byte address
    config.py    the node's settings for its programs -> .rodata
    loader.py    objects -> pinned maps, programs and rings; replace without a gap
    attach.py    which program sits on which hook of which device
    maps/        one typed file a map
    records.py   event rings -> columns and events

Everything that must outlive the agent is pinned:

    <bpffs>/maps/<map>  progs/<program>  links/<device>_<program>  rings/<cpu>
"""
