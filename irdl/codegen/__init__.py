"""Graph -> Program -> text: `lowering` knows no machine, the other packages are one each."""
