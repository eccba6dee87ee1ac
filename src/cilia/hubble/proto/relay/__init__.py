"""What a relay tells about the observers behind it."""
