"""The experiments of the evidence: each says which trainings it needs, and what follows from their results."""
