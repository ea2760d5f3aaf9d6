"""From predictions to metrics, intervals, tests, comparisons, mistakes; no torch."""
