"""The configuration: frozen, typed sections. `load` reads one from a file; `from_mapping` makes one of plain data."""

from homeserver.config.loader import ConfigError, Problem, from_mapping, load
from homeserver.config.sections import Config

__all__ = ["Config", "ConfigError", "Problem", "from_mapping", "load"]
