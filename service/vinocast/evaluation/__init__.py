"""How accurate a model is: the data set, the protocol it is scored by, the score."""
