"""The page Leaks."""
