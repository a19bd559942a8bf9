"""Exported LSTM layers beside RTNeural's, in one C++ program."""
