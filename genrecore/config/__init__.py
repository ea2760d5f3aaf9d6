"""Configurations of runs, the registry of parts, presets and dotted settings."""
