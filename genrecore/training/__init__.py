"""Turns a configuration into a trained run: classifier, batches, loop, checkpoint, hardware."""
