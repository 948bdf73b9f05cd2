"""Training with torch: model, data, probes, loop. Needs the extra ``train``."""
