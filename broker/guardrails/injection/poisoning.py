"""x"""
def suspicions(a,b): return []
