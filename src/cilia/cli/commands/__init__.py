"""One module a noun; each is imported when its word is typed."""
