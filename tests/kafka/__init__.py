"""Kafka, with a real broker: what the relay publishes, and what consumers read."""
