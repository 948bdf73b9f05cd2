"""The files of a run: written by a Recorder, read back without copies."""
