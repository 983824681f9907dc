"""Simplified sliding sync (proposal 4186), of the same parts that /sync is made of."""
