"""Write the measuring set: photographs and scans of pages with one digit of MNIST's test set.

``python -m benchmarks.pages MNIST.npz FOLDER [--each 200] [--seed 7]``

The set measures digitd on paper as people hand it in. It shares no code and no parameter with
the training's pages, and its digits are by writers whom training never saw.
"""
