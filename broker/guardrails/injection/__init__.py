"""Does a text that should only be read give orders?"""
