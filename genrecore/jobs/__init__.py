"""Background work: the queue, its runner, tasks, stop and resume, alerts."""
