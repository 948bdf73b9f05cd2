"""Measures: array in, array out."""
