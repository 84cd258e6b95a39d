"""One command on one machine: embedded PostgreSQL, the supervisor, demo data and the phone that plays a track."""
