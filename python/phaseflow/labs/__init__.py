"""Experiments of the literature as commands: each a short script over training, analysis and report."""
