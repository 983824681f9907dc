"""The scripts, one per revision."""
