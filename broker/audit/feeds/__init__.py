"""What do other systems read of the log? Formats that records are mapped to when they leave, never before."""
