"""`cilia relay serve`: the observers of all nodes behind one address.

It reads no ring and knows no agent: one observer's Peer.Notify is all that it starts from.
"""
