"""Write the evaluation set: photographs and scans of pages with one digit of MNIST's test set.

``python -m benchmarks.pages MNIST.npz FOLDER [--each 200] [--seed 7]``

The set measures how well digitd reads digits on paper as people photograph it. It shares no code
and no parameter with the training's pages, and its digits are by writers who are not in the
training data.
"""
