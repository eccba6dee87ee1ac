"""How we talk to other programs: messages, not their meaning.

kubernetes.py   requests on dicts, and list+watch that heals itself
listwatch.py    the stream behind it: pages, bookmarks, resume, 410, back-off
credentials.py  kubeconfig files and the in-cluster account
unixhttp.py     HTTP on a unix socket; errors as JSON
http10.py       the least HTTP that a command needs
"""
