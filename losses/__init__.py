"""Losses of your own: see README.md."""
