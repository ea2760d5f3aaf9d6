"""The page Sound."""
