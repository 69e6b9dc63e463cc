"""What docs/generate.py is made of: one module for each page, and what they share."""
