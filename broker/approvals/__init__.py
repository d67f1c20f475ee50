"""Does a human agree? What is asked, who may answer, and what an answer is good for."""
