"""Loops of many steps: their body is traced once, over a counter that is not known, and becomes a scan.

plans       which loops are, and where they are cut; what is found out stands when the function is traced again
items       what a loop goes over, at a step that is known or not
each        what rewritten code calls in the place of a `for`
once        the body traced once; what it changes is what the scan carries
growing     lists, and what a step appends to them; `growth`: behind the loop, the rows of what comes out of the scan
numbers     Python's own have to come out as Python's
sequences   what is read and stored at `places` that follow from the counter goes in and out of the scan row by row
"""
