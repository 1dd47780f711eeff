"""Clients of the networks' management and login APIs."""
