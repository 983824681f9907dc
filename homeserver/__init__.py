"""Hearth: a Matrix homeserver that an organisation runs for itself."""
