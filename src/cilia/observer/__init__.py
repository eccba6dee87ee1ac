"""The observer: the one reader of this node's event rings, a process of its own.

    rings (pinned) ──► reader.RingReader ──► hubble.Monitor ──► <run>/monitor.sock
                                                 ▲
               agent REST ──► names.AgentNames ──┘

Nothing notices when it dies: rings fill, what is lost is counted, and the next
one goes on reading.
"""
