"""What can have happened, and what does it mean? Standard library only."""
