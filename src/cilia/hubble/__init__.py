"""Records to flows: what the datapath reported, with names and reasons joined.

Takes decoded records (numpy rows of `struct event_record`) and look-ups through
`ports.Names`, so it runs on machines that have no datapath.

    rings ──► records ──► events.event_of ──► monitor.Monitor ──► subscribers
                               ▲
                        ports.Names (endpoints, identities, provenance)
"""
