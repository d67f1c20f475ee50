"""Is it safe to pass on?"""
