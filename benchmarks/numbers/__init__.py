"""Write an evaluation set of whole numbers, composed of MNIST's test digits.

``python -m benchmarks.numbers MNIST.npz FOLDER [--each 1000] [--seed 7]``

Numbers of 2 to 6 digits, spaced, close, touching, in boxes and on a slanted line; of 7 to 12
digits; with the marks that people write in numbers; struck out, underlined, and with a dash that
fills the rest of a field. The set shares no code and no parameter
with the training's numbers, and its digits are by writers who are not in the training data.
"""
