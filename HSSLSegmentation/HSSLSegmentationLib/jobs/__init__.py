"""What a user starts: jobs, and the processes that they run in."""
