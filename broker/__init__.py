"""The one door between agents and everything they use. Read `broker/pipeline.py` first."""
