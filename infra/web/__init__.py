"""What both APIs share: problems, tokens, health, metrics and log lines."""
