"""The annotated picture of one reading."""
