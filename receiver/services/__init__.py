"""Use cases. Each function is one transaction boundary; time, engine and randomness are arguments."""
