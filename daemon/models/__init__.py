"""The models beside the config: which one is in use, and what is known of each."""
