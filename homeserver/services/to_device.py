"""End-to-end encryption (being written by the keys helper: the accounts helper leaves this file to it)."""
