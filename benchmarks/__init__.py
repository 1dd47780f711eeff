"""Benchmarks: ratios against a bare echo in the same run. None of them is a test."""
