"""The service that names the observers of a cluster."""
