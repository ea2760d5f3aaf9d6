"""Many runs that answer one question: plans, searches, time estimates, leaks, papers."""
