"""What may be asked for? One function, one SQL statement, one response model each; and the live stream."""
