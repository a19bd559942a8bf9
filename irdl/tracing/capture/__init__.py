"""What a traced function reads from outside, and leaves there.

    capture             what the trace sees in place of each thing; arrays become inputs
    functions           the user's functions, with their globals (`namespaces`) and closures (`variables`)
    classes, objects    the user's classes, and objects of them
    containers          lists, dicts and deques from outside; `arguments`: those that are passed
    iterators           which are not moved on
    reads               how all that is found again at each call
    decisions           what is decided by numbers that change

At the end of a trace:

    changes             what has become of what was captured
    outcome             results, and what the call leaves behind, as recipes
    recipes             how an object is made anew at each call
"""
