"""What does an auditor get who asks? One signed zip: records, what they amount to, and a verifier."""
