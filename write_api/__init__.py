"""One door for every command, derived from the catalog."""
