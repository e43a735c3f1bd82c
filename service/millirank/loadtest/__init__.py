"""Load tests: an open-loop client, what it measured in figures, and the report. Imports nothing of the service."""
