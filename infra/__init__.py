"""How it is done: the only place that knows PostgreSQL, the eventsourcing library, files and clocks."""
