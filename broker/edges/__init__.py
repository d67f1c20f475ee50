"""The languages the broker speaks."""
