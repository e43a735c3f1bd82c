"""Offline: export, compile, verify, train. Never imported by the service."""
