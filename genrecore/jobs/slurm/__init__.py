"""Runs on a Slurm cluster, driven by Slurm's own commands, here or through ssh."""
