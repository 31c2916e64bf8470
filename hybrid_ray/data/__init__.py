"""Rows in: reading, column kinds, cleaning, splitting."""
