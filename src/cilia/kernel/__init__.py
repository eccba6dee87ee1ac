"""How we talk to Linux: the only room that imports cffi.

Knows file descriptors, layouts, links and namespaces; knows nothing of pods or
policies. Everything raises the classes of `errors`, which name what was done,
to what, and what the kernel said.

    libbpf.py    the library behind one typed file; errno becomes a class here
    btf.py       a built object's BTF -> numpy dtypes, enums, units
    objects.py   open, configure, load; programs and their maps
    maps.py      one map, rows or batches     percpu.py  the same, a row per CPU
    links.py     attach to TCX, clsact, cgroup; pin, adopt, replace
    rings.py     a ring buffer as one numpy array
    testrun.py   one packet through one program
    netlink.py   the codec                    rtnetlink.py  links, addresses, routes
    netns.py mounts.py sysctl.py features.py
"""
