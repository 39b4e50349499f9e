"""Behind the Segment Editor effect: models, session, worker, preview."""
