"""Files: where they are kept, how they come in, and that bytes and facts never part."""
