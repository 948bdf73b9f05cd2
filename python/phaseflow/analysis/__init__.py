"""From archives to tidy tables and phase changes."""
