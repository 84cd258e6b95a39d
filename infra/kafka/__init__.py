"""Out to Kafka: facts and rows as CloudEvents, exactly once."""
