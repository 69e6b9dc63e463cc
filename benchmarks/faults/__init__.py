"""The fault benchmark: known faults put into pairs of native models, and what ``dualml diff`` says about each.

Run: python -m benchmarks.faults --help
"""
