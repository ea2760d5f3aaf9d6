"""What lies on disk: run folders, status and progress, locks, caches and settings."""
