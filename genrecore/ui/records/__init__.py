"""The page Records."""
