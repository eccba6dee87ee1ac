"""The service of observers and relays."""
