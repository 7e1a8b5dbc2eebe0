"""Write an evaluation set of digits of MNIST's test set with something that is not the digit.

``python -m benchmarks.marks MNIST.npz FOLDER [--each 200] [--seed 7]``

Digits that are struck out or have a sign, a bar or a tick beside them must not be read as digits.
Digits that are underlined or have a dot below must.
"""
